package daemon

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/autotagd/autotagd/pkg/config"
	"github.com/autotagd/autotagd/pkg/directory"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/identity"
	"github.com/autotagd/autotagd/pkg/resource"
)

const (
	// directoryLook is how often the directory's file is looked at. A change is in force after the second look that finds it.
	directoryLook = 10 * time.Second
	// maxMistakesLogged are told of a broken file in one log line; `autotagd check` tells all.
	maxMistakesLogged = 10
	// maxUnmappedSaid bounds the names remembered as said.
	maxUnmappedSaid = 1000
)

// OpenDirectory reads the file that directory.file names; nil where it names none. Its error is a directory.Errors with what
// is wrong in the file, or a config.Errors where it can't be read.
func OpenDirectory(cfg *config.Config) (*directory.File, error) {
	if cfg.DirectoryFile == "" {
		return nil, nil
	}
	f, err := directory.Open(cfg.DirectoryFile, directory.OnDisk)
	var mistakes directory.Errors
	if err != nil && !errors.As(err, &mistakes) {
		return nil, cfg.Mistake("directory.file", "cannot be read: "+err.Error(), "want a CSV file with the columns name, department and so on")
	}
	return f, err
}

// Warnings says what in the configuration is no mistake and does nothing all the same: attributes of owners that the
// directory, as it stands, has no column for.
func (p *Planner) Warnings() []string {
	var columns []string
	where := "there is no directory (directory.file)"
	if p.Directory != nil {
		columns = p.Directory.Current().Columns()
		where = p.Directory.Path() + " has no such column"
	}
	var warnings []string
	for _, name := range p.Rules.Attributes() {
		if !slices.Contains(columns, name) {
			warnings = append(warnings, "owner.attributes."+name+" gives nothing: "+where)
		}
	}
	return warnings
}

// watchDirectory reads the directory again when its file changes, until ctx ends. Whatever becomes of the file, the last good
// content stays in force: tags with an old department are better than none.
func (d *Daemon) watchDirectory(ctx context.Context) {
	file := d.planner.Directory
	if file == nil {
		for _, warning := range d.planner.Warnings() {
			d.log.Warn(warning)
		}
		return
	}
	log := d.log.With(zap.String("file", file.Path()))
	said := func(message string) {
		log.Info(message, zap.Int("rows", file.Current().Rows()), zap.Strings("columns", file.Current().Columns()))
		for _, warning := range d.planner.Warnings() {
			log.Warn(warning)
		}
	}
	said("directory read")
	t := time.NewTicker(directoryLook)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		changed, err := file.Look()
		if err != nil || changed {
			set(d.metrics.directory, err)
		}
		var mistakes directory.Errors
		switch {
		case errors.As(err, &mistakes):
			log.Error("the directory has changed and has mistakes: what was read before stays in force",
				zap.Error(mistakes[:min(len(mistakes), maxMistakesLogged)]), zap.Int("mistakes", len(mistakes)))
		case err != nil:
			log.Error("the directory cannot be read: what was read before stays in force", zap.Error(err))
		case changed:
			said("directory read again: it has changed")
		}
	}
}

// unmapped counts the owners that the directory has no row for, and names each once, so that an operator can add them.
type unmapped struct {
	metrics *metrics
	log     *zap.Logger

	mu   sync.Mutex // guards said
	said map[string]struct{}
}

func newUnmapped(m *metrics, log *zap.Logger) *unmapped {
	return &unmapped{metrics: m, log: log, said: make(map[string]struct{})}
}

// observe is told of every event whose resources are tagged for such an owner.
func (u *unmapped) observe(ref resource.EventRef, owner identity.Owner) {
	u.metrics.unmapped.WithLabelValues(ref.Scope.AccountID, ref.Scope.Region).Inc()
	name := event.Printable(owner.Name, 128)
	now, last := u.sayNow(name)
	if !now {
		return
	}
	u.log.Warn("no row of the directory matches the owner: tags from its columns are left out",
		zap.String("owner", name), zap.String("kind", string(owner.Kind)), zap.String("event_id", event.Printable(ref.ID, maxLogged)),
		zap.String("account_id", ref.Scope.AccountID), zap.String("region", ref.Scope.Region))
	if last {
		u.log.Warn("so many owners are in no row of the directory that further ones are counted, not named", zap.Int("named", maxUnmappedSaid))
	}
}

// sayNow reports whether name was not said before and may still be, and whether it is the last that may.
func (u *unmapped) sayNow(name string) (now, last bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, ok := u.said[name]; ok || len(u.said) >= maxUnmappedSaid {
		return false, false
	}
	u.said[name] = struct{}{}
	return true, len(u.said) == maxUnmappedSaid
}
