// Serves one dynalite, in memory, on a free port of loopback, and says where.
const dynalite = require('dynalite')

const server = dynalite({ createTableMs: 50 })
server.listen(0, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`)
})
