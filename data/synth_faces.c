#include "data/synth_studio.h"
#include "data/synth_write.h"

#include "core/file.h"

#include <omp.h>
#include <stdio.h>

/* Which folder picture i goes to, and its number there: identities take turns, and each keeps every fifth of
 * its pictures for testing. */
typedef struct Place {
    uint32_t identity;
    int64_t number; /* 1 .. among the pictures of this identity */
    bool test;
} Place;

static Place place_of(const SynthPlan *plan, int64_t i) {
    int64_t turn = i / plan->identities;
    return (Place){(uint32_t)(i % plan->identities), turn + 1,
                   turn % SYNTH_TEST_EVERY == SYNTH_TEST_EVERY - 1};
}

static bool folder_path(char *path, size_t room, const SynthPlan *plan, uint32_t identity, bool test,
                        Error *e) {
    int n = snprintf(path, room, "%s/%s/person_%04u", plan->out, test ? "test" : "train", identity);
    return (n > 0 && (size_t)n < room) || error_set(e, ERROR_VALUE, "%s: the path is too long", plan->out);
}

static bool folders_make(const SynthPlan *plan, Error *e) {
    char path[FILE_PATH];
    for (uint32_t id = 0; id < plan->identities; id++)
        for (int test = 0; test < 2; test++)
            if (!folder_path(path, sizeof path, plan, id, test, e) || !file_make_folder(path, e))
                return false;
    return true;
}

static bool face_write(const SynthPlan *plan, Studio *studio, int64_t i, Error *e) {
    Place place = place_of(plan, i);
    Person who = person_draw(plan->seed, place.identity);
    Shot shot = shot_draw(plan->seed, (uint64_t)i);
    char folder[FILE_PATH], name[32], path[FILE_PATH];
    snprintf(name, sizeof name, "%04lld.jpg", (long long)place.number);
    return folder_path(folder, sizeof folder, plan, place.identity, place.test, e) &&
           file_join(path, sizeof path, folder, name, e) && studio_shoot(studio, &who, &shot, e) &&
           synth_picture(&studio->picture, shot.quality, path, e);
}

bool synth_faces(const SynthPlan *plan, const Noise *noise, SynthTally *tally, Error *e) {
    SynthTrouble trouble = {0};
    int64_t test = 0;
    if (!folders_make(plan, e)) return false;
#pragma omp parallel reduction(+ : test)
    {
        Studio studio;
        Error mine;
        bool ready = studio_new(&studio, (int)plan->size, noise, &mine);
        if (!ready) synth_trouble(&trouble, &mine);
#pragma omp for schedule(dynamic, 4)
        for (int64_t i = 0; i < plan->count; i++) {
            if (synth_troubled(&trouble)) continue;
            if (!face_write(plan, &studio, i, &mine)) synth_trouble(&trouble, &mine);
            test += place_of(plan, i).test;
        }
        if (ready) studio_free(&studio);
    }
    if (trouble.met) *e = trouble.first;
    *tally = (SynthTally){.train = plan->count - test, .test = test};
    return !trouble.met;
}
