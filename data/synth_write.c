#include "data/synth_write.h"

#include "core/file.h"
#include "core/json.h"
#include "data/image.h"

#include <stdio.h>
#include <string.h>

static const char *const kind_names[] = {"faces", "shapes", "cells"};

const char *synth_kind_name(SynthKind kind) {
    return kind_names[kind];
}

bool synth_kind_of(const char *name, SynthKind *kind) {
    for (int k = 0; k < COUNT(kind_names); k++)
        if (!strcmp(name, kind_names[k])) {
            *kind = (SynthKind)k;
            return true;
        }
    return false;
}

int64_t synth_kind_size(SynthKind kind) {
    return kind == SYNTH_FACES ? 128 : 256;
}

/* ------------------------------------------------------------------ the folder */

#define MARK "{\"lethe_synth\":" /* how synth.json starts, and nobody else's */

enum { SETTINGS_ROOM = 512 };

static void settings_text(const SynthPlan *plan, char text[SETTINGS_ROOM]) {
    char seed[24];
    snprintf(seed, sizeof seed, "%llu",
             (unsigned long long)plan->seed); /* may be too large for a JSON number */
    JsonWriter w = json_writer(text, SETTINGS_ROOM, 0);
    json_put_open(&w, NULL, '{');
    json_put_int(&w, "lethe_synth", 1);
    json_put_text(&w, "kind", synth_kind_name(plan->kind));
    json_put_int(&w, "count", plan->count);
    if (plan->kind == SYNTH_FACES) json_put_int(&w, "identities", plan->identities);
    json_put_text(&w, "seed", seed);
    json_put_int(&w, "size", plan->size);
    json_put_close(&w, '}');
}

static const char *const made[] = {"train", "test", "train.json", "test.json"};

static bool set_remove(const char *folder, Error *e) {
    char path[FILE_PATH];
    for (int i = 0; i < COUNT(made); i++)
        if (!file_join(path, sizeof path, folder, made[i], e) || !file_remove_tree(path, e)) return false;
    return true;
}

bool synth_folder_open(const SynthPlan *plan, Error *e) {
    char path[FILE_PATH], text[SETTINGS_ROOM], *old = NULL;
    size_t size = 0;
    FileList list = {0};
    if (!file_join(path, sizeof path, plan->out, "synth.json", e)) return false;
    settings_text(plan, text);
    FileKind kind = file_kind(plan->out);
    if (kind != FILE_NONE && kind != FILE_FOLDER)
        return error_set(e, ERROR_IO, "%s: is not a folder; choose another --out", plan->out);
    if (kind == FILE_FOLDER) {
        if (!file_list_open(&list, plan->out, e)) return false;
        int64_t inside = list.count;
        file_list_close(&list);
        bool drawn = inside > 0 && file_kind(path) == FILE_REGULAR;
        if (drawn && !file_read(path, SETTINGS_ROOM, &old, &size, e)) return false;
        bool same = drawn && !strcmp(old, text), ours = drawn && !strncmp(old, MARK, strlen(MARK));
        mem_free(old);
        if (inside > 0 && !ours)
            return error_set(e, ERROR_STATE,
                             "%s: is not empty, and nothing that synth drew; choose another --out",
                             plan->out);
        if (inside > 0 && !same && !plan->force)
            return error_set(
                e, ERROR_STATE,
                "%s: holds a set drawn with other settings (synth.json); choose another --out, or "
                "replace it with --force",
                plan->out);
        if (!same && ours && !set_remove(plan->out, e)) return false;
    } else if (!file_make_folder(plan->out, e))
        return false;
    return file_write(path, text, strlen(text), e);
}

/* ------------------------------------------------------------------ threads and pictures */

void synth_trouble(SynthTrouble *trouble, const Error *e) {
#pragma omp critical(synth_trouble)
    {
        if (!trouble->met) trouble->first = *e;
        trouble->met = true;
    }
}

bool synth_troubled(const SynthTrouble *trouble) {
    bool met;
#pragma omp critical(synth_trouble)
    met = trouble->met;
    return met;
}

bool synth_picture(const Canvas *picture, int quality, const char *path, Error *e) {
    Image im = {0};
    bool ok = image_reserve(&im, picture->w, picture->h, e);
    if (ok) {
        draw_bytes(picture, im.pixel);
        ok = image_write_jpeg(&im, quality, path, e);
    }
    image_free(&im);
    return ok;
}

/* ------------------------------------------------------------------ the whole set */

static bool plan_check(const SynthPlan *plan, Error *e) {
    enum { MOST_PICTURES = 10000000, MOST_PEOPLE = 10000 };
    int64_t people = plan->kind == SYNTH_FACES ? plan->identities : 1;
    if (people < 1 || people > MOST_PEOPLE)
        return error_set(e, ERROR_VALUE, "--identities: %lld is not from 1 to %d", (long long)people,
                         MOST_PEOPLE);
    if (plan->count < 1 || plan->count > MOST_PICTURES)
        return error_set(e, ERROR_VALUE, "--count: %lld is not from 1 to %d", (long long)plan->count,
                         MOST_PICTURES);
    if (plan->count < SYNTH_TEST_EVERY * people)
        return error_set(e, ERROR_VALUE,
                         "--count: %lld leaves %s without a picture for testing; give at least %lld",
                         (long long)plan->count, plan->kind == SYNTH_FACES ? "some identities" : "the set",
                         (long long)(SYNTH_TEST_EVERY * people));
    if (plan->size < 32 || plan->size > 1024 || plan->size % 2 != 0)
        return error_set(e, ERROR_VALUE, "--size: %lld is not an even number from 32 to 1024",
                         (long long)plan->size);
    return true;
}

bool synth_run(const SynthPlan *plan, SynthTally *tally, Error *e) {
    *tally = (SynthTally){0};
    if (!plan_check(plan, e) || !synth_folder_open(plan, e)) return false;
    Noise *noise = mem_get(sizeof *noise);
    if (!noise) return error_memory(e, sizeof *noise);
    noise_fill(noise, plan->seed);
    bool ok =
        plan->kind == SYNTH_FACES ? synth_faces(plan, noise, tally, e) : synth_fields(plan, noise, tally, e);
    mem_free(noise);
    return ok;
}
