// ws: a set of sockets per topic, the loop of its README.
const http = require('http');
const { WebSocketServer, WebSocket } = require('ws');
const topics = new Map();
const sockets = (name) => {
  if (!topics.has(name)) topics.set(name, new Set());
  return topics.get(name);
};
const server = http.createServer((request, response) => {
  const topic = request.url.split('/').pop();
  const body = [];
  request.on('data', (piece) => body.push(piece));
  request.on('end', () => {
    const data = Buffer.concat(body);
    for (const socket of sockets(topic)) {
      if (socket.readyState === WebSocket.OPEN) socket.send(data, { binary: false });
    }
    response.writeHead(204).end();
  });
});
const hub = new WebSocketServer({ server, perMessageDeflate: false });
hub.on('connection', (socket, request) => {
  const all = sockets(request.url.split('/').pop());
  all.add(socket);
  socket.on('close', () => all.delete(socket));
});
server.keepAliveTimeout = 60000;
server.listen(0, '127.0.0.1', 4096, () => console.log(`listening 127.0.0.1:${server.address().port}`));
