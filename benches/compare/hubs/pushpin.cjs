#!/usr/bin/env node
// Pushpin (Debian's packages pushpin and zurl) before an origin that holds every request open on its topic's channel.
// A publish is translated to Pushpin's own, once for all subscribers.
const { spawn } = require('child_process');
const fs = require('fs');
const http = require('http');
const net = require('net');
const os = require('os');
const path = require('path');

const freePort = () =>
  new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
const listen = (server) =>
  new Promise((resolve) => {
    server.keepAliveTimeout = 60000;
    server.listen(0, '127.0.0.1', 4096, () => resolve(server.address().port));
  });
// Whether a subscription is answered: the parts of Pushpin find each other one after another.
const answers = (port) =>
  new Promise((resolve) => {
    const request = http.get({ port, host: '127.0.0.1', path: '/sub/any', timeout: 1000 }, (answer) => {
      resolve(answer.statusCode === 200);
      request.destroy();
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(false));
  });

async function main() {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'pushpin-'));
  const [subscribe, push, command, pull, sub] = await Promise.all(Array.from({ length: 5 }, freePort));
  // Subscriptions that are answered together get their parts out of step in Pushpin 1.36, which then closes some of them
  // with the next message ("received message out of sequence"), whatever its settings. So they are answered in turns.
  let held = Promise.resolve();
  const origin = await listen(
    http.createServer((request, response) => {
      held = held.then(() => {
        response.writeHead(200, {
          'content-type': 'text/event-stream',
          'grip-hold': 'stream',
          'grip-channel': request.url.split('/').pop(),
        });
        response.end();
        return new Promise((resolve) => setTimeout(resolve, 2));
      });
    }),
  );
  fs.writeFileSync(path.join(directory, 'routes'), `* 127.0.0.1:${origin}\n`);
  fs.writeFileSync(
    path.join(directory, 'pushpin.conf'),
    `[global]
include={libdir}/internal.conf
rundir=${directory}
ipc_prefix=bench-
port_offset=0
stats_connection_ttl=120
[runner]
services=condure,zurl,pushpin-proxy,pushpin-handler
http_port=127.0.0.1:${subscribe}
logdir=${directory}
log_level=0
client_buffer_size=8192
client_maxconn=20000
condure_bin=condure
zurl_bin=zurl
[proxy]
routesfile=${path.join(directory, 'routes')}
updates_check=off
zurl_out_specs=ipc://{rundir}/{ipc_prefix}zurl-in
zurl_out_stream_specs=ipc://{rundir}/{ipc_prefix}zurl-in-stream
zurl_in_specs=ipc://{rundir}/{ipc_prefix}zurl-out
[handler]
push_in_spec=tcp://127.0.0.1:${pull}
push_in_sub_specs=tcp://127.0.0.1:${sub}
push_in_http_addr=127.0.0.1
push_in_http_port=${push}
push_in_http_max_body_size=1000000
stats_spec=ipc://{rundir}/{ipc_prefix}stats
command_spec=tcp://127.0.0.1:${command}
message_rate=1000000
message_hwm=1000000
message_wait=0
connection_subscription_max=20
`,
  );
  const pushpin = spawn('pushpin', [`--config=${path.join(directory, 'pushpin.conf')}`], {
    stdio: 'ignore',
  });
  const end = () => {
    pushpin.once('exit', () => {
      fs.rmSync(directory, { recursive: true, force: true });
      process.exit(0);
    });
    pushpin.kill('SIGTERM');
  };
  process.once('SIGTERM', end).once('SIGINT', end);
  const agent = new http.Agent({ keepAlive: true });
  const publish = await listen(
    http.createServer((request, response) => {
      const channel = request.url.split('/').pop();
      const body = [];
      request.on('data', (piece) => body.push(piece));
      request.on('end', () => {
        const content = `data: ${Buffer.concat(body)}\n\n`;
        const items = [{ channel, formats: { 'http-stream': { content } } }];
        const options = { agent, port: push, host: '127.0.0.1', path: '/publish/', method: 'POST' };
        const forward = http.request(options, (answer) => {
          answer.resume();
          answer.on('end', () => response.writeHead(answer.statusCode).end());
        });
        forward.on('error', () => response.writeHead(502).end());
        forward.end(JSON.stringify({ items }));
      });
    }),
  );
  while (!(await answers(subscribe))) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  console.log(`listening 127.0.0.1:${publish} 127.0.0.1:${subscribe}`);
}

main();
