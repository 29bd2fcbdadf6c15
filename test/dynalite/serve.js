// Serves one dynalite, in memory, on a free port of loopback, and says where.
const dynalite = require('dynalite')

// A client that ends in the middle of a request would end dynalite too: it throws what its request's stream says of that.
process.on('uncaughtException', err => {
  if (err.code !== 'ECONNRESET') throw err
})

const server = dynalite({ createTableMs: 50 })
server.listen(0, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`)
})
