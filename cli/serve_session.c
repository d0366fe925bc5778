#include "cli/serve_session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

void sessions_open(Sessions *all, size_t most) {
    *all = (Sessions){.most = most};
    pthread_mutex_init(&all->lock, NULL);
}

static void session_free(Session *s) {
    embedding_close(s->embedding);
    image_free(&s->image);
    mem_free(s);
}

void sessions_close(Sessions *all) {
    for (int i = 0; i < all->count; i++) session_free(all->list[i]);
    pthread_mutex_destroy(&all->lock);
}

/* Off the list; memory goes with the last holder. */
static void take_out(Sessions *all, int i) {
    Session *s = all->list[i];
    all->list[i] = all->list[--all->count];
    all->bytes -= s->bytes;
    atomic_store(&s->removed, true);
    if (!s->holders) session_free(s);
}

static bool make_room(Sessions *all, size_t bytes, Error *e) {
    while (all->count == SESSIONS_MOST || all->bytes + bytes > all->most) {
        int oldest = -1;
        for (int i = 0; i < all->count; i++)
            if (!all->list[i]->holders && (oldest < 0 || all->list[i]->used < all->list[oldest]->used))
                oldest = i;
        if (oldest < 0)
            return error_set(e, ERROR_LIMIT, "no room for another image at this moment; try again later");
        take_out(all, oldest);
    }
    return true;
}

/* Not to be guessed: whoever knows the id may use the session. */
static bool id_make(char id[SESSION_ID], Error *e) {
    uint8_t byte[(SESSION_ID - 1) / 2];
    if (getrandom(byte, sizeof byte, 0) != (ssize_t)sizeof byte)
        return error_set(e, ERROR_IO, "no random numbers: %s", strerror(errno));
    for (size_t i = 0; i < sizeof byte; i++) snprintf(id + 2 * i, 3, "%02x", byte[i]);
    return true;
}

bool sessions_add(Sessions *all, Image *image, size_t embedding, Session **out, Error *e) {
    Session *s = mem_zero(1, sizeof *s);
    if (!s) return error_memory(e, sizeof *s);
    s->bytes = image->capacity + embedding;
    s->holders = 1;
    bool fine = id_make(s->id, e);
    pthread_mutex_lock(&all->lock);
    fine = fine && make_room(all, s->bytes, e);
    if (fine) {
        s->image = *image;
        s->used = ++all->uses;
        *image = (Image){0};
        all->list[all->count++] = s;
        all->bytes += s->bytes;
    }
    pthread_mutex_unlock(&all->lock);
    if (!fine) mem_free(s);
    if (fine) *out = s;
    return fine;
}

static int find(const Sessions *all, const Session *s) {
    for (int i = 0; i < all->count; i++)
        if (all->list[i] == s) return i;
    return -1;
}

Session *sessions_hold(Sessions *all, const char *id) {
    Session *found = NULL;
    pthread_mutex_lock(&all->lock);
    for (int i = 0; i < all->count && !found; i++)
        if (!strcmp(all->list[i]->id, id)) found = all->list[i];
    if (found) {
        found->holders++;
        found->used = ++all->uses;
    }
    pthread_mutex_unlock(&all->lock);
    return found;
}

void sessions_drop(Sessions *all, Session *s) {
    pthread_mutex_lock(&all->lock);
    s->holders--;
    if (!s->holders && find(all, s) < 0) session_free(s);
    pthread_mutex_unlock(&all->lock);
}

void sessions_remove(Sessions *all, Session *s) {
    pthread_mutex_lock(&all->lock);
    int i = find(all, s);
    if (i >= 0) take_out(all, i);
    pthread_mutex_unlock(&all->lock);
}
