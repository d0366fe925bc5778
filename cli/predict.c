#include "cli/cli.h"
#include "cli/options.h"
#include "cli/setup.h"

#include "core/json.h"
#include "data/augment.h"

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
    "            (right), red (wrong) or grey (the class is not known)\n"
    "  predictions.jsonl  a line an image: path and what was found\n"
    "The true class of an image is the name of its folder, if that is a class.\n";

enum { GROUP = 64 }; /* images a forward pass, and a picture of a classifier */

typedef struct Predict {
    Setup u;
    Step *step;
    Augment augment;
    AugmentScratch scratch;
    FILE *lines;
    char lines_path[FILE_PATH];
    char (*note)[TASK_NOTE];
    float *pixel;
    int64_t id[GROUP];
    int32_t label[GROUP], size[GROUP][2];
    const char *out;
} Predict;

/* The class whose name is that of the folder the image lies in; -1: none. */
static int32_t label_of(const Setup *u, const char *path) {
    const char *end = strrchr(path, '/'), *start = end;
    int count = u->train_set ? u->train_set->classes : u->names;
    while (start && start > path && start[-1] != '/') start--;
    for (int i = 0; end && i < count; i++)
        if (strlen(u->task.class_name[i]) == (size_t)(end - start) &&
            !strncmp(u->task.class_name[i], start, (size_t)(end - start)))
            return i;
    return -1;
}

static bool image_load(Predict *p, const char *path, int64_t slot, Error *e) {
    char *data = NULL;
    size_t size;
    int64_t side = p->u.task.image_size;
    if (!file_read(path, (size_t)1 << 30, &data, &size, e)) return false;
    const AugmentSource source = {.data = (const uint8_t *)data, .size = size, .name = path};
    bool fine = augment_run(&p->augment, &p->scratch, &source, rng_open(0, RNG_EVAL, 0, 0),
                            p->pixel + slot * 3 * side * side, p->size[slot], e);
    mem_free(data);
    return fine;
}

static bool picture_write(Predict *p, const Picture *picture, const char *name, Error *e) {
    char path[FILE_PATH];
    const Image image = {.width = picture->width, .height = picture->height, .pixel = picture->pixel};
    return file_join(path, sizeof path, p->out, name, e) && image_write_png(&image, path, e);
}

/* Name of the picture of one image: its own without the ending; of several with one name the later are
 * numbered. */
static void picture_name(char *out, size_t size, char *const *path, int i) {
    const char *base = file_base(path[i]), *dot = strrchr(base, '.');
    int n = dot && dot > base ? (int)(dot - base) : (int)strlen(base), before = 0;
    for (int j = 0; j < i; j++) {
        const char *other = file_base(path[j]);
        before += !strncmp(other, base, (size_t)n) && (other[n] == '.' || other[n] == 0);
    }
    if (before)
        snprintf(out, size, "%.*s-%d.png", n, base, before + 1);
    else
        snprintf(out, size, "%.*s.png", n, base);
}

static bool group_draw(Predict *p, char *const *path, int first, int count, Error *e) {
    int64_t side = p->u.task.image_size;
    bool each = p->u.task.class->draws_each;
    char name[FILE_PATH];
    for (int i = 0; i < count; i++) {
        if (!image_load(p, path[first + i], i, e)) return false;
        p->id[i] = first + i;
        p->label[i] = label_of(&p->u, path[first + i]);
    }
    for (int i = 0; i < count; i += each ? 1 : count) {
        int n = each ? 1 : count;
        Picture picture;
        const Batch batch = {
            .n = n,
            .id = p->id + i,
            .label = p->label + i,
            .identity = p->label + i,
            .size = p->size[i],
            .image = {.data = p->pixel + i * 3 * side * side, .ndim = 4, .dim = {n, 3, side, side}}};
        step_begin(p->step);
        if (!p->u.task.class->draw(&p->u.task, p->step, &batch, &picture, p->note + i, e)) return false;
        if (each)
            picture_name(name, sizeof name, path, first + i);
        else if (first)
            snprintf(name, sizeof name, "predict-%d.png", first / GROUP + 1);
        else
            snprintf(name, sizeof name, "predict.png");
        bool fine = picture_write(p, &picture, name, e);
        mem_free(picture.pixel);
        if (!fine) return false;
    }
    for (int i = 0; i < count; i++) {
        char line[FILE_PATH * 2 + TASK_NOTE];
        JsonWriter w = json_writer(line, sizeof line, 0);
        json_put_open(&w, NULL, '{');
        json_put_text(&w, "path", path[first + i]);
        json_put_close(&w, '}');
        line[strlen(line) - 1] = 0;
        if (fprintf(p->lines, "%s, %s}\n", line, p->note[i]) < 0)
            return error_set(e, ERROR_IO, "%s: cannot be written", p->lines_path);
    }
    return true;
}

static bool predict(const char *recipe, const char *checkpoint, const char *out, const OptionList *set,
                    const OptionList *images, Error *e) {
    Predict p = {.out = out};
    Checkpoint *c = NULL;
    char note[CHECKPOINT_NOTE];
    bool fine = checkpoint_open(&c, checkpoint, note, e);
    if (fine && note[0]) fprintf(stderr, "lethe: warning: %s\n", note);
    fine = fine && setup_open(&p.u, recipe, set->item, set->count, 0, c, e) && task_load(&p.u.task, c, e);
    fine = fine && (p.step = step_create(p.u.run.dtype == 1 ? DT_BF16 : DT_F32, BACKEND_CPU, 0, e)) != NULL;
    fine = fine && file_make_folder(out, e) &&
           file_join(p.lines_path, sizeof p.lines_path, out, "predictions.jsonl", e);
    if (fine) {
        size_t bytes =
            (size_t)GROUP * 3 * (size_t)p.u.task.image_size * (size_t)p.u.task.image_size * sizeof *p.pixel;
        p.step->seed = (uint64_t)p.u.run.seed;
        p.augment = augment_of(&p.u.data, p.u.task.image_size, false);
        p.pixel = mem_get(bytes);
        p.note = mem_zero(GROUP, TASK_NOTE);
        fine = p.pixel && p.note ? true : error_memory(e, bytes);
    }
    if (fine && !(p.lines = fopen(p.lines_path, "w")))
        fine = error_set(e, ERROR_IO, "%s: cannot be written", p.lines_path);
    for (int i = 0; i < images->count && fine; i += GROUP)
        fine = group_draw(&p, images->item, i, images->count - i < GROUP ? images->count - i : GROUP, e);
    if (p.lines && fclose(p.lines) && fine)
        fine = error_set(e, ERROR_IO, "%s: cannot be written", p.lines_path);
    if (fine) printf("%d images, see %s\n", images->count, out);
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
