// better-sse: a channel per topic.
const http = require('http');
const { createSession, createChannel } = require('better-sse');
const channels = new Map();
const channel = (name) => {
  if (!channels.has(name)) channels.set(name, createChannel());
  return channels.get(name);
};
const server = http.createServer(async (request, response) => {
  const topic = request.url.split('/').pop();
  if (request.method === 'GET') {
    // Data goes out as it came, as with all others.
    const session = await createSession(request, response, { serializer: String });
    channel(topic).register(session);
    return;
  }
  const body = [];
  request.on('data', (piece) => body.push(piece));
  request.on('end', () => {
    channel(topic).broadcast(Buffer.concat(body).toString());
    response.writeHead(204).end();
  });
});
server.keepAliveTimeout = 60000;
server.listen(0, '127.0.0.1', 4096, () => console.log(`listening 127.0.0.1:${server.address().port}`));
