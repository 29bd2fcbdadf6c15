package awsclient

import (
	"reflect"
	"strings"
	"testing"
)

// No client is within reach of reflection from a Clients: the linker would keep all its operations, and the binary be twice as big.
func TestNoClientIsReachable(t *testing.T) {
	t.Parallel()
	seen := map[reflect.Type]bool{}
	var walk func(path string, typ reflect.Type)
	walk = func(path string, typ reflect.Type) {
		if seen[typ] {
			return
		}
		seen[typ] = true
		if strings.Contains(typ.PkgPath(), "/aws-sdk-go-v2/service/") && typ.Name() == "Client" {
			t.Errorf("%s is a %s: keep its calls as functions, see calls", path, typ)
			return
		}
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Chan:
			walk(path, typ.Elem())
		case reflect.Map:
			walk(path+"[key]", typ.Key())
			walk(path+"[]", typ.Elem())
		case reflect.Struct:
			for i := range typ.NumField() {
				walk(path+"."+typ.Field(i).Name, typ.Field(i).Type)
			}
		case reflect.Func:
			for i := range typ.NumIn() {
				walk(path+"(in)", typ.In(i))
			}
			for i := range typ.NumOut() {
				walk(path+"(out)", typ.Out(i))
			}
		}
	}
	walk("Clients", reflect.TypeFor[Clients]())
	walk("Account", reflect.TypeFor[Account]())
	if len(seen) < 100 {
		t.Errorf("%d types were looked at: the test shows nothing", len(seen))
	}
}
