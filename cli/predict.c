#include "cli/cli.h"
#include "cli/names.h"
#include "cli/options.h"
#include "cli/setup.h"

#include "core/json.h"
#include "data/augment.h"
#include "data/bytes.h"
#include "data/fit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: lethe predict RECIPE --checkpoint DIR --out DIR [--set key=value]... IMAGE...\n\n"
    "Writes to the folder of --out\n"
    "  mae       for each image NAME.png: side by side the original, what the encoder saw, the "
    "reconstruction, and\n"
    "            the reconstruction with the visible patches; classify: one PNG for every 64 images, framed "
    "green\n"
    "            (right), red (wrong) or grey (the class is not known); segment: each image NAME.png with "
    "the\n"
    "            masks found in it\n"
    "  predictions.jsonl  a line an image: path and what was found\n"
    "An image that cannot be read is warned of and skipped.\n"
    "The true class of an image is the name of its folder, if that is a class.\n";

enum { GROUP = 64 }; /* GROUP: images a forward pass, and a picture of a classifier */

typedef struct Predict {
    Setup u;
    Step *step;
    Augment augment;
    AugmentScratch scratch;
    Bytes lines;              /* of predictions.jsonl, written when all is done */
    char (*name)[NAMES_SIZE]; /* of the picture of each image, made before anything is written */
    NamesGuard guard;         /* the images */
    char (*note)[TASK_NOTE];
    float *pixel;
    int index[GROUP]; /* which image each of the group is */
    int64_t id[GROUP];
    int32_t label[GROUP], size[GROUP][2], fit[GROUP][2];
    int images, drawn, skipped;
    const char *out;
} Predict;

/* The class whose name is that of the folder the image lies in; -1: none. */
static int32_t label_of(const Setup *u, const char *path) {
    const char *end = strrchr(path, '/'), *start = end;
    while (start && start > path && start[-1] != '/') start--;
    for (int i = 0; end && i < u->task.names; i++)
        if (strlen(u->task.class_name[i]) == (size_t)(end - start) &&
            !strncmp(u->task.class_name[i], start, (size_t)(end - start)))
            return i;
    return -1;
}

/* The whole picture in the square, as the recipe's geometry has it. */
static bool image_fit(Predict *p, const AugmentSource *from, int64_t slot, float *out, Error *e) {
    const Rng rng = rng_open(0, RNG_EVAL, 0, 0);
    int32_t *size = p->size[slot];
    if (!fit_size(&p->augment, from, size, e)) return false;
    const Fit fit = fit_draw(&p->augment, rng, size[1], size[0], false);
    p->fit[slot][0] = fit.window.height;
    p->fit[slot][1] = fit.window.width;
    return fit_run(&p->augment, &p->scratch, from, &fit, rng, out, e);
}

static bool image_load(Predict *p, const char *path, int64_t slot, Error *e) {
    char *data = NULL;
    size_t size;
    int64_t side = p->u.task.image_size;
    if (!file_read(path, (size_t)1 << 30, &data, &size, e)) return false;
    const AugmentSource source = {.data = (const uint8_t *)data, .size = size, .name = path};
    float *out = p->pixel + slot * 3 * side * side;
    p->fit[slot][0] = p->fit[slot][1] = (int32_t)side;
    bool fine = p->u.data.geometry != GEOMETRY_CROP
                    ? image_fit(p, &source, slot, out, e)
                    : augment_run(&p->augment, &p->scratch, &source, rng_open(0, RNG_EVAL, 0, 0), out,
                                  p->size[slot], e);
    mem_free(data);
    return fine;
}

static bool picture_write(Predict *p, const Picture *picture, const char *name, Error *e) {
    char path[FILE_PATH];
    const Image image = {.width = picture->width, .height = picture->height, .pixel = picture->pixel};
    return names_path(&p->guard, path, p->out, name, ".png", e) && image_write_png(&image, path, e);
}

/* Loads what can be read of images first .. first + count; the others are warned of, and *e is the last
 * reason. Returns how many. */
static int group_load(Predict *p, char *const *path, int first, int count, Error *e) {
    int n = 0;
    for (int i = first; i < first + count; i++) {
        if (!image_load(p, path[i], n, e)) {
            if (p->images > 1) fprintf(stderr, "warning: %s; skipped\n", e->text);
            p->skipped++;
            continue;
        }
        p->index[n] = i;
        p->id[n] = i;
        p->label[n] = label_of(&p->u, path[i]);
        n++;
    }
    return n;
}

static bool line_put(Predict *p, const char *path, const char *note, Error *e) {
    char line[FILE_PATH * 2 + TASK_NOTE];
    JsonWriter w = json_writer(line, sizeof line, 0);
    json_put_open(&w, NULL, '{');
    json_put_text(&w, "path", path);
    json_put_close(&w, '}');
    size_t n = strlen(line) - 1; /* without the brace */
    n += (size_t)snprintf(line + n, sizeof line - n, ", %s}\n", note);
    if (w.full || n >= sizeof line) return error_set(e, ERROR_LIMIT, "%s: the path is too long", path);
    return bytes_append(&p->lines, line, n, e);
}

static bool group_draw(Predict *p, char *const *path, int first, int count, Error *e) {
    int64_t side = p->u.task.image_size;
    bool each = p->u.task.class->draws_each;
    char sheet[NAMES_SIZE] = "predict";
    if (first) snprintf(sheet, sizeof sheet, "predict-%d", first / GROUP + 1);
    count = group_load(p, path, first, count, e);
    for (int i = 0; i < count; i += each ? 1 : count) {
        int n = each ? 1 : count;
        Picture picture;
        const Batch batch = {
            .n = n,
            .id = p->id + i,
            .label = p->label + i,
            .identity = p->label + i,
            .size = p->size[i],
            .fit = p->fit[i],
            .image = {.data = p->pixel + i * 3 * side * side, .ndim = 4, .dim = {n, 3, side, side}}};
        step_begin(p->step);
        if (!p->u.task.class->draw(&p->u.task, p->step, &batch, &picture, p->note + i, e)) return false;
        bool fine = picture_write(p, &picture, each ? p->name[p->index[i]] : sheet, e);
        mem_free(picture.pixel);
        if (!fine) return false;
    }
    for (int i = 0; i < count; i++)
        if (!line_put(p, path[p->index[i]], p->note[i], e)) return false;
    p->drawn += count;
    return true;
}

/* All images, then predictions.jsonl. */
static bool images_draw(Predict *p, const OptionList *images, Error *e) {
    char path[FILE_PATH];
    if (!names_make(&p->name, images->item, images->count, e) ||
        !names_guard_open(&p->guard, images->item, images->count, e) || !file_make_folder(p->out, e))
        return false;
    for (int i = 0; p->u.task.class->draws_each && i < images->count; i++)
        if (!names_path(&p->guard, path, p->out, p->name[i], ".png", e)) return false;
    if (!file_join(path, sizeof path, p->out, "predictions.jsonl", e)) return false;
    for (int i = 0; i < images->count; i += GROUP)
        if (!group_draw(p, images->item, i, images->count - i < GROUP ? images->count - i : GROUP, e))
            return false;
    if (!p->drawn && p->images > 1)
        error_prefix(e, "none of the %d images could be read; the last", p->images);
    if (!p->drawn) return false; /* *e says why */
    return file_write(path, p->lines.data, p->lines.size, e);
}

static bool predict(const char *recipe, const char *checkpoint, const char *out, const OptionList *set,
                    const OptionList *images, Error *e) {
    Predict p = {.out = out, .images = images->count};
    Checkpoint *c = NULL;
    char note[CHECKPOINT_NOTE];
    bool fine = checkpoint_open(&c, checkpoint, note, e);
    if (fine && note[0]) fprintf(stderr, "lethe: warning: %s\n", note);
    fine = fine && setup_open(&p.u, recipe, set->item, set->count, 0, c, e) && setup_weights(&p.u, c, e);
    fine = fine && (p.step = step_create(run_dtype(&p.u.run), BACKEND_CPU, 0, e)) != NULL;
    if (fine) {
        size_t bytes =
            (size_t)GROUP * 3 * (size_t)p.u.task.image_size * (size_t)p.u.task.image_size * sizeof *p.pixel;
        p.step->seed = (uint64_t)p.u.run.seed;
        p.augment = augment_of(&p.u.data, p.u.task.image_size, false);
        p.pixel = mem_get(bytes);
        p.note = mem_zero(GROUP, TASK_NOTE);
        fine = p.pixel && p.note ? true : error_memory(e, bytes);
    }
    fine = fine && images_draw(&p, images, e);
    if (fine) printf("%d images, see %s\n", p.drawn, out);
    if (fine && p.skipped)
        fprintf(stderr, "warning: %d of %d images were skipped\n", p.skipped, images->count);
    bytes_free(&p.lines);
    mem_free(p.name);
    names_guard_close(&p.guard);
    augment_scratch_free(&p.scratch);
    mem_free(p.pixel);
    mem_free(p.note);
    step_free(p.step);
    checkpoint_close(c);
    setup_close(&p.u);
    return fine;
}

int cli_predict(int argc, char **argv) {
    Error e = {0};
    const char *checkpoint = NULL, *out = NULL;
    OptionList set = {0}, rest = {0};
    const Option options[] = {
        {"checkpoint", OPTION_TEXT, &checkpoint},
        {"out", OPTION_TEXT, &out},
        {"set", OPTION_LIST, &set},
        {0},
    };
    int done = options_read(argc, argv, usage, options, &rest, &e);
    if (done >= 0) return done ? cli_fail(&e) : 0;
    if (rest.count < 2 || !checkpoint || !out) {
        error_set(&e, ERROR_VALUE,
                  "predict takes a recipe, --checkpoint, --out and images; see lethe predict --help");
        return cli_fail(&e);
    }
    const char *recipe = rest.item[0];
    memmove(rest.item, rest.item + 1, (size_t)(rest.count - 1) * sizeof *rest.item);
    rest.count--;
    return predict(recipe, checkpoint, out, &set, &rest, &e) ? 0 : cli_fail(&e);
}
