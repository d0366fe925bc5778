#include "cli/unlearn_world.h"

#include "core/comm.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- which sample of data.train is which line of the manifest ---- */

enum { IDX_NAME = 64 };

/* What a sample goes by, and where it stands. */
typedef struct Place {
    const char *name;
    int64_t at;
} Place;

/* The last parts of a path: 0: all of it. Of an IDX file's sample FILE#ID always what follows the file. */
static const char *name_of(const char *path, bool idx, int parts) {
    const char *hash = idx ? strrchr(path, '#') : NULL;
    if (hash) return hash;
    for (const char *at = path + strlen(path); parts > 0 && at > path;)
        if (*--at == '/' && --parts == 0) return at + 1;
    return path;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const Place *)a)->name, ((const Place *)b)->name);
}

/* The places of all lines whose names are in the sorted list once. A sample that two lines could be is
 * neither's: one might be forgotten and the other stay. `owner` has room for a line a sample. Returns how
 * many were found. */
static int64_t match(World *w, const Place *list, int64_t n, bool idx, int parts, int64_t *owner) {
    int64_t found = 0;
    for (int64_t k = 0; k < n; k++) owner[k] = -1;
    for (int64_t i = 0; i < w->manifest->count; i++) {
        const Place key = {name_of(w->manifest->line[i].path, idx, parts), 0};
        const Place *p = bsearch(&key, list, (size_t)n, sizeof *list, by_name);
        bool alone = p && (p == list || by_name(p - 1, p)) && (p + 1 == list + n || by_name(p, p + 1));
        w->place[i] = -1;
        if (!alone) continue;
        int64_t other = owner[p->at];
        if (other < 0) owner[p->at] = i;
        if (other >= 0 && w->place[other] < 0) continue; /* a third */
        if (other >= 0)
            w->place[other] = -1;
        else
            w->place[i] = p->at;
        found += other < 0 ? 1 : -1;
    }
    return found;
}

/* By their paths, or, where the data lies in another folder now, by the last parts of these. */
static int64_t places_match(World *w, Place *list, char *names, int64_t *owner) {
    static const int tries[] = {0, 3, 2, 1};
    const Dataset *d = w->setup.train_set;
    int64_t found = 0;
    for (int k = 0; k < COUNT(tries) && !found; k++) {
        for (int64_t i = 0; i < d->count; i++) {
            const char *path = d->sample[i].path;
            char *number = names ? names + i * IDX_NAME : NULL;
            if (number) snprintf(number, IDX_NAME, "#%" PRId64, d->sample[i].id);
            list[i] = (Place){path ? name_of(path, false, tries[k]) : number, i};
        }
        qsort(list, (size_t)d->count, sizeof *list, by_name);
        found = match(w, list, d->count, names != NULL, tries[k], owner);
    }
    return found;
}

static bool places_find(World *w, Error *e) {
    const Dataset *d = w->setup.train_set;
    size_t n = (size_t)d->count;
    Place *list = mem_get(n * sizeof *list);
    char *names = d->pixel ? mem_get(n * IDX_NAME) : NULL;
    int64_t *owner = mem_get(n * sizeof *owner);
    w->place = mem_get((size_t)w->manifest->count * sizeof *w->place);
    bool fine = list && owner && w->place && (names || !d->pixel);
    int64_t found = fine ? places_match(w, list, names, owner) : 0;
    mem_free(list);
    mem_free(owner);
    mem_free(names);
    if (!fine) return error_memory(e, n * sizeof *list);
    w->strangers = d->count - found;
    if (found) return true;
    return error_set(e, ERROR_VALUE,
                     "data.train (%s): none of its samples is in %s: it is not what the model was trained on",
                     d->source, w->manifest->name);
}

/* Retained samples must all be there; the forgotten may be deleted already, which some methods bear. */
static bool places_check(const World *w, Error *e) {
    int64_t gone = 0, first = -1;
    for (int64_t i = 0; i < w->manifest->count; i++) {
        if (w->place[i] >= 0 || w->request.forget[i]) continue;
        if (!gone++) first = i;
    }
    if (!gone) return true;
    return error_set(e, ERROR_VALUE,
                     "data.train (%s): %" PRId64
                     " samples that the model was trained on and that shall stay are "
                     "not there any more; the first: %s",
                     w->setup.train_set->source, gone, w->manifest->line[first].path);
}

/* Is the file of line i, which stays, the one that the model was trained on? */
static bool content_same(const World *w, int64_t i) {
    Error ignored;
    char hash[HASH_TEXT];
    const ManifestLine *l = &w->manifest->line[i];
    if (w->request.forget[i] || !l->sha256) return true;
    return dataset_hash(w->setup.train_set, w->place[i], hash, &ignored) && !strcmp(hash, l->sha256);
}

/* Collective. A retained sample with another content could be a forgotten one under its name. Each rank reads
 * its share. */
static bool contents_check(const World *w, Error *e) {
    int64_t n = w->manifest->count, rank = comm_rank(), ranks = comm_size(), changed = 0, first = n;
#pragma omp parallel for reduction(+ : changed) reduction(min : first) schedule(dynamic, 16)
    for (int64_t i = rank; i < n; i += ranks) {
        if (content_same(w, i)) continue;
        changed++;
        if (i < first) first = i;
    }
    double sum = (double)changed, least = -(double)first;
    comm_sum(&sum, 1);
    comm_most(&least, 1);
    const char *path = sum > 0 ? w->manifest->line[(int64_t)-least].path : "";
    bool same = sum == 0 ||
                error_set(e, ERROR_VALUE,
                          "data.train (%s): %.0f samples that shall stay are not, by their SHA-256, what the "
                          "model was trained on; the first: %s",
                          w->setup.train_set->source, sum, path);
    return comm_agree(same, e);
}

/* ---- sets ---- */

/* The class of a line's sample, which may be deleted; -1: none. */
static int32_t label_of(const World *w, int64_t line) {
    const Dataset *d = w->setup.train_set;
    const char *who = w->manifest->line[line].identity;
    if (w->place[line] >= 0) return d->sample[w->place[line]].label;
    for (int32_t k = 0; who && k < d->classes; k++)
        if (strcmp(d->class_name[k], who) == 0) return k;
    return -1;
}

/* Samples go by the manifest's ids, which key what is drawn for each: the same, whatever was deleted since.
 * (Elsewhere an id is a place in a file.) */
static void ids_keep(const World *w) {
    Dataset *d = w->setup.train_set;
    if (d->pixel || d->coco) return;
    for (int64_t i = 0; i < w->manifest->count; i++)
        if (w->place[i] >= 0) d->sample[w->place[i]].id = w->manifest->line[i].id;
}

/* Which classes have no retained sample, of those that a forgotten one has: [classes]. */
static bool *classes_gone(World *w, Error *e) {
    const Dataset *d = w->setup.train_set;
    size_t n = (size_t)d->classes + 1;
    bool *gone = mem_zero(n, 1);
    if (!gone) {
        error_memory(e, n);
        return NULL;
    }
    bool some = false, whole = d->classes > 0;
    for (int k = 1; k >= 0; k--) /* the forgotten first */
        for (int64_t i = 0; i < w->manifest->count; i++)
            if (w->request.forget[i] == (k == 1)) {
                int32_t label = label_of(w, i);
                if (label < 0) continue;
                if (k == 0 && gone[label]) whole = false;
                gone[label] = k == 1;
                some = true;
            }
    w->unlearn.whole = whole && some && w->setup.task.classes > 0;
    return gone;
}

static bool part(Dataset **out, const Dataset *d, const bool *keep, int64_t *count, Error *e) {
    *count = 0;
    for (int64_t i = 0; i < d->count; i++) *count += keep[i];
    if (*count == 0) return true;
    return dataset_part(out, d, keep, true, e);
}

bool world_split(World *w, const uint8_t *part_of, Error *e) {
    const Dataset *d = w->setup.train_set;
    bool *keep = mem_get((size_t)d->count), fine = keep || error_memory(e, (size_t)d->count);
    for (int k = 0; k < 2 && fine; k++) {
        UnlearnSet set = k ? SET_FORGET : SET_RETAIN;
        WorldPart wanted = k ? PART_FORGET : PART_RETAIN;
        dataset_close(w->set[set]);
        w->set[set] = NULL;
        memset(keep, 0, (size_t)d->count);
        for (int64_t i = 0; i < w->manifest->count; i++) {
            WorldPart p = part_of ? part_of[i] : w->request.forget[i] ? PART_FORGET : PART_RETAIN;
            if (w->place[i] >= 0 && p == wanted) keep[w->place[i]] = true;
        }
        fine = part(&w->set[set], d, keep, &w->unlearn.count[set], e);
    }
    mem_free(keep);
    return fine;
}

/* data.test: samples of classes that are gone whole; of the others a share for methods, the rest for audits.
 */
static bool test_sets(World *w, const bool *gone, double share, Error *e) {
    const Dataset *d = w->setup.test_set;
    if (!d) return true;
    static const UnlearnSet sets[] = {SET_KIN, SET_VALID, SET_TEST};
    bool *keep = mem_get(3 * (size_t)d->count + 1);
    if (!keep) return error_memory(e, 3 * (size_t)d->count);
    memset(keep, 0, 3 * (size_t)d->count);
    int64_t others = 0;
    for (int64_t i = 0; i < d->count; i++) {
        int32_t label = d->sample[i].label;
        bool kin = d->classes && (label < 0 || gone[label]); /* without one: of somebody who is not there */
        bool valid = !kin && (int64_t)((double)(others + 1) * share) > (int64_t)((double)others * share);
        others += !kin;
        keep[(kin ? 0 : valid ? 1 : 2) * d->count + i] = true;
    }
    bool fine = true;
    for (int k = 0; k < COUNT(sets) && fine; k++)
        fine = part(&w->set[sets[k]], d, keep + k * d->count, &w->unlearn.count[sets[k]], e);
    mem_free(keep);
    return fine;
}

/* Evenly spread, where there are more than enough. */
static bool outside_set(World *w, Error *e) {
    const UnlearnSettings *set = &w->setup.unlearn;
    DataSettings data = w->setup.data;
    if (!set->outside[0]) return true;
    memcpy(data.train, set->outside, sizeof data.train);
    data.layout = LAYOUT_AUTO;
    data.test[0] = data.images[0] = data.masks[0] = '\0';
    data.per_class_train = 0;
    if (!dataset_open(&w->outside, &data, true, e)) return error_prefix(e, "unlearn.outside");
    int64_t n = w->outside->count, most = set->outside_most < n ? set->outside_most : n;
    bool *keep = mem_get((size_t)n);
    if (!keep) return error_memory(e, (size_t)n);
    for (int64_t i = 0; i < n; i++) keep[i] = (i + 1) * most / n > i * most / n;
    bool fine = part(&w->set[SET_OUTSIDE], w->outside, keep, &w->unlearn.count[SET_OUTSIDE], e);
    mem_free(keep);
    return fine;
}

static bool sets_make(World *w, Error *e) {
    ids_keep(w);
    bool *gone = classes_gone(w, e);
    bool fine = gone && world_split(w, NULL, e) && test_sets(w, gone, w->setup.unlearn.validation, e) &&
                outside_set(w, e);
    mem_free(gone);
    return fine;
}

/* ---- what unlearning calls ---- */

/* Nothing drawn: pictures as evaluation has them. */
static void settings_plain(DataSettings *d) {
    d->hflip = d->jitter = d->randaugment = d->erase = d->smoothing = 0;
    d->lsj_min = d->lsj_max = 1;
    d->crop = CROP_CENTRE;
}

static bool source(void *self, UnlearnSet set, FeedKind kind, int64_t batch, uint64_t seed, Source *out,
                   Error *e) {
    World *w = self;
    DataSettings data = w->setup.data;
    bool mixed = kind == FEED_MIXED || kind == FEED_MIXED_WHOLE;
    bool masks = w->setup.task.class->wants_masks, alone = kind == FEED_WHOLE || kind == FEED_MIXED_WHOLE;
    LoaderOptions o = {.set = &data,
                       .image_size = w->setup.task.image_size,
                       .batch = batch,
                       .uneven = kind != FEED_RETRAIN,
                       .mixed = mixed,
                       .rank = alone ? 0 : comm_rank(),
                       .ranks = alone ? 1 : comm_size(),
                       .processors = comm_processors(),
                       .seed = seed,
                       .masks = masks,
                       .classes = set == SET_OUTSIDE ? 0 : w->setup.task.classes};
    if (!w->set[set]) return error_set(e, ERROR_STATE, "a set of samples that is wanted is empty");
    if (kind == FEED_TRAIN) data.mixup = data.cutmix = 0, data.drop_last = false;
    if (kind == FEED_PLAIN || alone || mixed) {
        data.mixup = data.cutmix = 0;
        o.plain = masks;
        settings_plain(&data);
    }
    o.train = kind == FEED_TRAIN || kind == FEED_RETRAIN || o.plain;
    return loader_open(out, w->set[set], &o, e);
}

static bool model(void *self, int more, uint64_t seed, Task *out, Error *e) {
    World *w = self;
    return setup_another(&w->setup, more, seed, out, e);
}

const void *world_settings(const World *w, const Method *m) {
    for (int i = 0; unlearn_methods[i]; i++)
        if (unlearn_methods[i] == m) return w->setup.method[i];
    return NULL;
}

const char *world_init(const World *w) {
    return retrain_init(world_settings(w, method_find("retrain")));
}

static const void *settings(void *self, const Method *m) {
    return world_settings(self, m);
}

/* ---- opening ---- */

/* A retained sample with the content of a forgotten one would teach it anew. */
static bool twins_tell(const World *w, Error *e) {
    const Manifest *m = w->manifest;
    ManifestHashes forgotten;
    int64_t twins = 0, first = 0;
    if (!manifest_hashes(&forgotten, m, w->request.forget, e)) return false;
    for (int64_t i = 0; i < m->count; i++) {
        if (w->request.forget[i] || !manifest_hashes_have(&forgotten, m->line[i].sha256)) continue;
        if (!twins++) first = i;
    }
    mem_free(forgotten.list);
    if (twins && comm_first())
        fprintf(stderr,
                "lethe: warning: %" PRId64
                " of the samples that stay are the very files of forgotten ones, by "
                "their content; the first: %s (--forget file=PATH takes them all)\n",
                twins, m->line[first].path);
    return true;
}

static bool open_manifest(World *w, const OptionList *forget, uint64_t seed, Error *e) {
    char path[FILE_PATH];
    if (!checkpoint_manifest(w->checkpoint, path, e))
        return error_prefix(e, "%s: without a manifest nobody knows what the model was trained on",
                            checkpoint_path(w->checkpoint));
    if (forget->count == 0)
        return error_set(e, ERROR_VALUE,
                         "--forget is missing: identity=NAME, class=NAME, sample=ID, file=PATH, path=END, "
                         "random=SHARE or @LIST");
    return manifest_open(&w->manifest, path, e) &&
           request_open(&w->request, w->manifest, forget->item, forget->count, seed, e) && twins_tell(w, e);
}

bool world_open(World *w, const char *recipe, const OptionList *set, const char *checkpoint,
                const OptionList *forget, uint64_t seed, Error *e) {
    char note[CHECKPOINT_NOTE];
    *w = (World){0};
    bool fine = checkpoint_open(&w->checkpoint, checkpoint, note, e);
    if (fine && note[0] && comm_first()) fprintf(stderr, "lethe: warning: %s\n", note);
    fine = fine && open_manifest(w, forget, seed, e) &&
           setup_open(&w->setup, recipe, set->item, set->count, SETUP_TRAIN | SETUP_TEST | SETUP_UNLEARN,
                      w->checkpoint, e) &&
           setup_weights(&w->setup, w->checkpoint, e) && places_find(w, e) && places_check(w, e);
    w->unlearn = (UnlearnWorld){.self = w,
                                .source = source,
                                .model = model,
                                .settings = settings,
                                .run = &w->setup.run,
                                .train = &w->setup.train,
                                .optim = &w->setup.optim,
                                .schedule = &w->setup.schedule};
    if (comm_agree(fine && sets_make(w, e), e) && contents_check(w, e)) return true;
    world_close(w);
    return false;
}

void world_close(World *w) {
    for (int i = 0; i < SETS; i++) dataset_close(w->set[i]);
    dataset_close(w->outside);
    mem_free(w->place);
    request_close(&w->request);
    manifest_close(w->manifest);
    setup_close(&w->setup);
    checkpoint_close(w->checkpoint);
    *w = (World){0};
}
