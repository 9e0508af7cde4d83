/** What every configuration of nginx here begins with. */

/** nginx speaks HTTP/1.1 towards servers, HTTP/2 only for gRPC; bytes are the work of a module of its own. */
export const streamModule = '/usr/lib/nginx/modules/ngx_stream_module.so';

/** One process, no root needed. */
export function head(folder: string, hasStreams: boolean): string[] {
  return [
    ...(hasStreams ? [`load_module ${streamModule};`] : []),
    ...['daemon off;', 'master_process off;', 'worker_processes 1;'],
    ...[`pid ${folder}/nginx.pid;`, `error_log ${folder}/error.log warn;`],
    'events { worker_connections 4096; }',
  ];
}

/**
 * Connections never end by count or soon: nginx would close one after 1000 requests by default, and reconnects
 * would be measured.
 */
export function httpOf(folder: string, lines: readonly string[]): string[] {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return [
    'http {',
    ...['access_log off;', 'tcp_nodelay on;', 'keepalive_timeout 3600s;', 'keepalive_requests 1000000000;'],
    ...temporary.map((name) => `${name}_temp_path ${folder}/${name};`),
    ...lines,
    '}',
  ];
}
