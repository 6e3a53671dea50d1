// A back end that reads a call as WHATWG URLs and Express do: dot segments and backslashes are resolved, letter case and a slash
// at the end do not matter, parameters are decoded, a header or `_method` may change the method.
// It answers with what it took the call for. Started by the harness: node node.js SOCKET
'use strict';
const http = require('http');

const ROUTES = [
  ['GET', /^\/v1\/accounts\/me\/?$/i, 'account.self'],
  ['GET', /^\/v1\/accounts\/([^/]+)\/?$/i, 'account.read'],
  ['DELETE', /^\/v1\/accounts\/([^/]+)\/?$/i, 'account.close'],
  ['GET', /^\/v1\/accounts\/([^/]+)\/refunds\/?$/i, 'refund.list'],
  ['POST', /^\/v1\/accounts\/([^/]+)\/refunds\/?$/i, 'refund.create'],
  ['GET', /^\/files\/secret\/(.+)$/i, 'file.secret'],
  ['GET', /^\/files\/(.+)$/i, 'file.read'],
  ['GET', /^\/admin\/?$/i, 'admin.read'],
];

function read(request) {
  const url = new URL(request.url, 'http://back-end');
  let method = request.method === 'HEAD' ? 'GET' : request.method;
  if (method === 'POST') {
    method = (request.headers['x-http-method-override'] || url.searchParams.get('_method') || method).toUpperCase();
  }
  for (const [verb, path, action] of ROUTES) {
    const match = verb === method && path.exec(url.pathname);
    if (match) return [action, match[1] === undefined ? '' : decodeURIComponent(match[1])];
  }
  return ['none', ''];
}

http.createServer((request, response) => {
  let served;
  try {
    served = read(request);
  } catch {
    served = ['none', ''];
  }
  request.resume();
  response.setHeader('x-served', served[0] + ' ' + encodeURIComponent(served[1]));
  response.end();
}).listen(process.argv[2]);
