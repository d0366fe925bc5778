#include "cli/serve_guard.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HOST_MOST = 256 };

static bool numeric(const char *address) {
    struct in6_addr room;
    return inet_pton(AF_INET, address, &room) == 1 || inet_pton(AF_INET6, address, &room) == 1;
}

bool guard_loopback(const char *address) {
    struct in_addr four;
    struct in6_addr six;
    if (!strcasecmp(address, "localhost")) return true;
    if (inet_pton(AF_INET, address, &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, address, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

static bool every(const char *address) {
    struct in6_addr six;
    return !strcmp(address, "0.0.0.0") ||
           (inet_pton(AF_INET6, address, &six) == 1 && IN6_IS_ADDR_UNSPECIFIED(&six));
}

/* "name:port", "[v6]:port" -> name and port (0: none given). */
static bool host_split(const char *host, char name[HOST_MOST], int *port) {
    const char *end = *host == '[' ? strchr(host, ']') : host + strcspn(host, ":");
    if (!end) return false;
    const char *begin = *host == '[' ? host + 1 : host, *rest = *host == '[' ? end + 1 : end;
    size_t n = (size_t)(end - begin);
    if (!n || n >= HOST_MOST) return false;
    memcpy(name, begin, n);
    name[n] = 0;
    *port = 0;
    if (!*rest) return true;
    char *stop;
    if (*rest != ':' || rest[1] < '0' || rest[1] > '9' || strlen(rest) > 6) return false;
    *port = (int)strtol(rest + 1, &stop, 10);
    return !*stop;
}

bool guard_host(const char *host, const char *told, int port) {
    enum { HTTP = 80 };
    char name[HOST_MOST];
    int given;
    if (!host || !host_split(host, name, &given)) return false;
    if (given != port && (given || port != HTTP)) return false;
    return guard_loopback(name) || !strcasecmp(name, told) || (every(told) && numeric(name));
}

bool guard_origin(const char *origin, const char *site, const char *host) {
    static const char scheme[] = "http://";
    if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0) return false;
    if (!origin) return true;
    return !strncmp(origin, scheme, sizeof scheme - 1) && !strcasecmp(origin + sizeof scheme - 1, host);
}
