/* serve_http: the HTTP side of `lethe serve`, by libmicrohttpd: the page's files, and cli/serve_api.h for the
 * rest. A thread a connection. What is wrong with a request is said before its body is read. */
#ifndef LETHE_CLI_SERVE_HTTP_H
#define LETHE_CLI_SERVE_HTTP_H

#include "cli/serve_api.h"

typedef struct Http Http;

/* Listens at host:port; port 0: any that is free. Whoever asks under another name than host's (or a loopback
 * one) is refused: see serve_guard.h. */
bool http_open(Http **out, Api *api, const char *host, int port, Error *e);
int http_port(const Http *h);
/* Takes no more connections, lets answers on their way end, for two seconds at most, and closes. The work
 * must have stopped: threads may be waiting for it. NULL is fine. */
void http_close(Http *h);

#endif
