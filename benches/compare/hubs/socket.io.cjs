// socket.io: a room per topic, WebSocket only.
const http = require('http');
const { Server } = require('socket.io');
let io;
const server = http.createServer((request, response) => {
  if (!request.url.startsWith('/pub/')) return;
  const topic = request.url.split('/').pop();
  const body = [];
  request.on('data', (piece) => body.push(piece));
  request.on('end', () => {
    io.to(topic).emit('m', Buffer.concat(body).toString());
    response.writeHead(204).end();
  });
});
// A ping in the middle of a measurement would have to be answered by the generator.
io = new Server(server, { transports: ['websocket'], perMessageDeflate: false, pingInterval: 600000 });
io.on('connection', (socket) => socket.join(socket.handshake.query.topic));
server.keepAliveTimeout = 60000;
server.listen(0, '127.0.0.1', 4096, () => console.log(`listening 127.0.0.1:${server.address().port}`));
