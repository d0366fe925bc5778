/* serve_guard: which requests come from our own page. Any page that the user has open may send requests to a
 * server on this machine (CSRF), or make its own name lead to it (DNS rebinding): the first shows in Origin,
 * the second in Host. */
#ifndef LETHE_CLI_SERVE_GUARD_H
#define LETHE_CLI_SERVE_GUARD_H

#include "core/base.h"

/* `host`: the Host header, or NULL. Ours: localhost or a loopback address, or `told`, what --host says; if
 * that is every address of the machine (0.0.0.0, ::), any numeric one. With our port, or none where it is
 * 80. */
bool guard_host(const char *host, const char *told, int port);

/* `origin`: the Origin header, or NULL, which browsers leave out where nothing is changed; site:
 * Sec-Fetch-Site, or NULL. */
bool guard_origin(const char *origin, const char *site, const char *host);

/* True for an address that only this machine reaches. */
bool guard_loopback(const char *address);

#endif
