/* serve_session: the images that users of `lethe serve` work on. At most SESSIONS_MOST of them, and at most
 * so many bytes: the one not used for longest goes first. Whoever works with a session holds it; one that is
 * removed while held leaves the list at once, and memory with its last holder. Any thread. */
#ifndef LETHE_CLI_SERVE_SESSION_H
#define LETHE_CLI_SERVE_SESSION_H

#include "segment/predictor.h"

#include <pthread.h>
#include <stdatomic.h>

enum { SESSIONS_MOST = 32, SESSION_ID = 33 }; /* 128 random bits as hexadecimal digits, and a NUL */

typedef struct Session {
    char id[SESSION_ID];
    Image image;
    Embedding *embedding; /* NULL: not yet. Written once, by the thread that computes, before `ready` */
    atomic_bool ready, removed;
    size_t bytes;
    int holders;
    uint64_t used; /* when last, in uses of any session */
} Session;

typedef struct Sessions {
    pthread_mutex_t lock;
    Session *list[SESSIONS_MOST];
    int count;
    size_t bytes, most; /* held now; at most */
    uint64_t uses;
} Sessions;

void sessions_open(Sessions *all, size_t most);
void sessions_close(Sessions *all); /* nobody holds any */

/* A session of this image, whose pixels it takes over, held by the caller. `embedding`: bytes that its
 * embedding will need. ERROR_LIMIT: all places are in use at this moment, or it would never fit. */
bool sessions_add(Sessions *all, Image *image, size_t embedding, Session **out, Error *e);
Session *sessions_hold(Sessions *all, const char *id); /* NULL: there is none of that id */
void sessions_drop(Sessions *all, Session *s);         /* ends a hold */
void sessions_remove(Sessions *all, Session *s);       /* the caller holds it, and still has to drop it */

#endif
