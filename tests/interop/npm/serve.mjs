// node serve.mjs PORT ORTHANC_PORT
// OHIF as built, on loopback, with Orthanc's DICOMweb under the same origin: what config/compose/nginx.conf does in docker.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const [port, orthanc] = process.argv.slice(2).map(Number);
const here = path.dirname(fileURLToPath(import.meta.url));
const dist = path.join(here, 'node_modules/@ohif/app/dist');
const config = path.join(here, '../../../config/compose/app-config.js');
const types = {
  '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.css': 'text/css', '.wasm': 'application/wasm',
  '.json': 'application/json', '.svg': 'image/svg+xml', '.png': 'image/png', '.woff2': 'font/woff2',
};
http.createServer((request, response) => {
  const { pathname } = new URL(request.url, 'http://loopback');
  for (const [name, value] of [['Opener-Policy', 'same-origin'], ['Embedder-Policy', 'require-corp'], ['Resource-Policy', 'same-origin']]) {
    response.setHeader(`Cross-Origin-${name}`, value);
  }
  if (/^\/(dicom-web|wado)(\/|$)/.test(pathname)) {
    const onward = http.request({ host: '127.0.0.1', port: orthanc, path: request.url, method: request.method, headers: request.headers }, answer => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', error => { response.writeHead(502); response.end(String(error)); });
    request.pipe(onward);
    return;
  }
  let file = pathname === '/app-config.js' ? config : path.join(dist, path.normalize(pathname));
  if (file !== config && !file.startsWith(dist)) { response.writeHead(403); response.end(); return; }
  if (!fs.existsSync(file) || fs.statSync(file).isDirectory()) file = path.extname(pathname) ? null : path.join(dist, 'index.html');
  if (!file) { response.writeHead(404); response.end(); return; }
  response.writeHead(200, { 'Content-Type': types[path.extname(file)] ?? 'application/octet-stream' });
  fs.createReadStream(file).pipe(response);
}).listen(port, '127.0.0.1', () => console.log('ready'));
