#include "cli/segment.h"

#include "cli/cli.h"
#include "core/comm.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: lethe segment --checkpoint FILE IMAGE PROMPT... --out DIR\n"
    "       lethe segment --checkpoint FILE IMAGE|FOLDER... --everything --out DIR\n"
    "       lethe segment --checkpoint FILE --prompts COCO.json --out DIR\n\n"
    "Cuts things out of images with a promptable model (SAM, HQ-SAM, MobileSAM). FILE is a run's folder, a\n"
    "checkpoint or a file of weights. Under mpirun the images are divided among the ranks.\n\n"
    "One image, one thing (all given prompts together say which):\n"
    "  --point x,y[,0|1]    a pixel on it (1, the standard) or beside it (0); again and again\n"
    "  --box x0,y0,x1,y1    a box around it\n"
    "  --mask FILE          a mask of it: a PNG of the image's size, or a .safetensors of --save-logits, "
    "whose best\n"
    "                       mask is refined\n"
    "  --multimask          three answers (part, whole, more) instead of one\n"
    "  --save-logits        writes NAME_logits.safetensors, for --mask\n"
    "Writes NAME.png (the image with the mask, its border and the prompts), NAME_mask.png (grey, 255 inside; "
    "with\n"
    "--multimask NAME_mask0.png ... NAME_mask2.png) and NAME.json (COCO annotations, compressed RLE).\n\n"
    "Everything in images:\n"
    "  --everything             asks at a grid of points, keeps what is sure, stable and no duplicate\n"
    "  --points-per-side N      of the grid (32)\n"
    "  --points-per-batch N     points asked at once (64)\n"
    "  --iou-threshold X        least predicted IoU (0.88)\n"
    "  --stability-threshold X  least stability (0.95): IoU of the masks cut above and below zero, by\n"
    "  --stability-offset X     (1)\n"
    "  --nms X                  boxes that overlap by more are duplicates (0.7)\n"
    "  --crop-layers N          again on 2 x 2, 4 x 4, ... parts of the image, for smaller things (0)\n"
    "  --crop-overlap X         of neighbouring parts, as a share of the shorter side (0.341)\n"
    "  --crop-points-shrink N   layer i has points-per-side / N^i points a side (1)\n"
    "  --crop-nms X             the same between parts (0.7)\n"
    "  --min-area N             removes islands and fills holes of fewer pixels (0)\n"
    "  --masks                  writes each mask, too: NAME_masks/0.png ...\n"
    "Writes NAME.png (all masks over the image) and NAME.json (every record).\n\n"
    "Many images, prompts from a COCO file:\n"
    "  --prompts FILE       each of its annotations is a prompt, crowds excepted\n"
    "  --images DIR         where its images are (beside it)\n"
    "  --from box|centre    prompt with the box (the standard) or with the innermost point of the mask\n"
    "  --pictures           writes NAME.png of each image\n"
    "Writes results.json (COCO results: image_id, category_id, segmentation, score, bbox).\n\n"
    "All:\n"
    "  --hq-only            of HQ-SAM the finer mask alone, not added to SAM's\n"
    "  --dtype f32|bf16     of the computation (f32)\n"
    "An image of several that cannot be read is warned of and skipped.\n";

static bool range(const char *name, double value, double lo, double hi, Error *e) {
    if (value >= lo && value <= hi) return true;
    return error_set(e, ERROR_VALUE, "--%s is %g: from %g to %g", name, value, lo, hi);
}

static bool generator_check(SegmentOptions *set, Error *e) {
    GeneratorSettings *g = &set->generator;
    if (!range("points-per-side", (double)set->points_per_side, 1, GENERATOR_MOST_SIDE, e) ||
        !range("points-per-batch", (double)set->points_per_batch, 1, GENERATOR_MOST_SIDE, e) ||
        !range("crop-layers", (double)set->crop_layers, 0, GENERATOR_MOST_LAYERS, e) ||
        !range("crop-points-shrink", (double)set->crop_shrink, 1, GENERATOR_MOST_SIDE, e) ||
        !range("min-area", (double)set->min_area, 0, 1e12, e) ||
        !range("iou-threshold", g->iou_threshold, 0, 10, e) ||
        !range("stability-threshold", g->stability_threshold, 0, 1, e) ||
        !range("stability-offset", g->stability_offset, 0, 100, e) || !range("nms", g->box_nms, 0, 1, e) ||
        !range("crop-nms", g->crop_nms, 0, 1, e) || !range("crop-overlap", g->crop_overlap, 0, 0.9, e))
        return false;
    g->points_per_side = (int)set->points_per_side;
    g->points_per_batch = (int)set->points_per_batch;
    g->crop_layers = (int)set->crop_layers;
    g->crop_point_shrink = (int)set->crop_shrink;
    g->min_area = set->min_area;
    g->hq = set->hq_only ? PREDICTOR_HQ_ONLY : PREDICTOR_HQ_SUM;
    return true;
}

/* What is wrong with the command itself. */
static bool options_check(SegmentOptions *set, Error *e) {
    const bool prompt = set->point.count || set->box.count || set->mask;
    if (!set->checkpoint || !set->out)
        return error_set(e, ERROR_VALUE, "segment takes --checkpoint and --out; see lethe segment --help");
    if (strcmp(set->dtype, "f32") != 0 && strcmp(set->dtype, "bf16") != 0)
        return error_set(e, ERROR_VALUE, "--dtype is f32 or bf16, not \"%s\"", set->dtype);
    if (strcmp(set->from, "box") != 0 && strcmp(set->from, "centre") != 0)
        return error_set(e, ERROR_VALUE, "--from is box or centre, not \"%s\"", set->from);
    if ((set->prompts != NULL) + set->everything + prompt > 1)
        return error_set(e, ERROR_VALUE,
                         "--prompts, --everything and the prompts for one image exclude each other");
    if (set->prompts && set->path.count)
        return error_set(e, ERROR_VALUE, "with --prompts the images are those of the file: drop %s",
                         set->path.item[0]);
    if (set->prompts) return true;
    if (!set->path.count)
        return error_set(e, ERROR_VALUE, "segment takes %s",
                         prompt ? "the image that the prompt is about"
                                : "an image, a folder of images, or --prompts");
    if (set->everything) return generator_check(set, e);
    if (!prompt)
        return error_set(e, ERROR_VALUE, "%s: no prompt: give --point, --box or --mask, or --everything",
                         set->path.item[0]);
    if (set->path.count > 1 || file_kind(set->path.item[0]) == FILE_FOLDER)
        return error_set(e, ERROR_VALUE,
                         "--point, --box and --mask are about one image; --prompts takes many");
    return segment_prompt_check(set, e);
}

/* Files as given, folders as the images in them. */
static bool images_list(Segment *s, Error *e) {
    const OptionList *given = &s->set->path;
    int64_t room = given->count;
    s->path = mem_get((size_t)room * sizeof *s->path);
    if (!s->path) return error_memory(e, (size_t)room * sizeof *s->path);
    for (int i = 0; i < given->count; i++) {
        if (file_kind(given->item[i]) != FILE_FOLDER) {
            s->path[s->images++] = given->item[i];
            continue;
        }
        if (s->found.count)
            return error_set(e, ERROR_VALUE, "%s: a second folder; one a call", given->item[i]);
        if (!walk_open(&s->found, given->item[i], e)) return false;
        if (!s->found.count) return error_set(e, ERROR_VALUE, "%s: no images in it", given->item[i]);
        room += s->found.count;
        char **path = mem_resize(s->path, (size_t)room * sizeof *path);
        if (!path) return error_memory(e, (size_t)room * sizeof *path);
        s->path = path;
        memcpy(s->path + s->images, s->found.path, (size_t)s->found.count * sizeof *path);
        s->images += s->found.count;
    }
    return true;
}

/* All that can be wrong before the first image is looked at. */
static bool segment_open(Segment *s, Error *e) {
    char path[FILE_PATH];
    const SegmentOptions *set = s->set;
    s->work = set->prompts ? segment_coco : set->everything ? segment_all : segment_prompt;
    s->centre = !strcmp(set->from, "centre");
    s->hq = set->hq_only ? PREDICTOR_HQ_ONLY : PREDICTOR_HQ_SUM;
    if (!(set->prompts ? segment_coco_list(s, e) : images_list(s, e))) return false;
    if (!names_make(&s->name, s->path, s->images, e) || !names_guard_open(&s->guard, s->path, s->images, e) ||
        !names_guard_add(&s->guard, set->mask, e) || !names_guard_add(&s->guard, set->prompts, e))
        return false;
    for (int64_t i = 0; (!set->prompts || set->pictures) && i < s->images; i++)
        if (!names_path(&s->guard, path, set->out, s->name[i], ".png", e)) return false;
    if (set->prompts && !names_path(&s->guard, path, set->out, "results", ".json", e)) return false;
    if (!model_open(&s->model, set->checkpoint, strcmp(set->dtype, "bf16") ? DT_F32 : DT_BF16, e))
        return false;
    if (set->hq_only && !predictor_hq(s->model.predictor))
        return error_set(e, ERROR_VALUE, "--hq-only: %s is no HQ-SAM", set->checkpoint);
    return file_make_folder(set->out, e);
}

static bool image_skip(Segment *s, const Error *why, Error *e) {
    fprintf(stderr, "warning: %s; skipped\n", why->text);
    s->skips++;
    return bytes_append(&s->skipped, "  ", 2, e) &&
           bytes_append(&s->skipped, why->text, strlen(why->text), e) &&
           bytes_append(&s->skipped, "\n", 1, e);
}

/* Images are skipped only where there are several. */
static bool image_run(Segment *s, int64_t i, Error *e) {
    Error why = {0};
    const CocoImage *im = s->coco ? &s->coco->image[i] : NULL;
    s->done++;
    if (im && im->count == 0) return true;
    const bool read = image_read(&s->image, s->path[i], &image_standard, &why);
    if (read && s->work(s, i, &why)) return true;
    s->done--;
    if (s->images > 1 && (!read || why.code == ERROR_VALUE)) return image_skip(s, &why, e);
    *e = why;
    return false;
}

/* Collective. */
static bool segment_sum(Segment *s, Error *e) {
    double all[2] = {(double)s->done, (double)s->skips};
    comm_sum(all, 2);
    if (s->skips) {
        char who[40] = "";
        if (comm_size() > 1) snprintf(who, sizeof who, " by rank %d", comm_rank());
        fprintf(stderr, "%" PRId64 " images were skipped%s:\n%.*s", s->skips, who, (int)s->skipped.size,
                (const char *)s->skipped.data);
    }
    if (all[0] > 0) return true;
    return error_set(e, ERROR_VALUE, "none of the %" PRId64 " images could be used", s->images);
}

enum { PATIENCE = 1000 /* times the limit: ranks whose images took less time wait for the others */ };

static bool segment_run(Segment *s, Error *e) {
    const int64_t rank = comm_rank(), ranks = comm_size();
    if (!comm_agree(segment_open(s, e), e)) return false;
    bool fine = true;
    for (int64_t i = s->images * rank / ranks; fine && i < s->images * (rank + 1) / ranks; i++)
        fine = image_run(s, i, e);
    comm_patience(PATIENCE);
    fine = comm_agree(fine, e);
    comm_patience(1);
    fine = fine && segment_sum(s, e) && (!s->coco || segment_coco_write(s, e));
    if (fine && comm_first()) printf("see %s\n", s->set->out);
    return fine;
}

static void segment_close(Segment *s) {
    model_close(&s->model);
    coco_close(s->coco);
    walk_close(&s->found);
    names_guard_close(&s->guard);
    mem_free(s->joined);
    mem_free(s->path);
    mem_free(s->name);
    image_free(&s->image);
    bytes_free(&s->results);
    bytes_free(&s->skipped);
}

int cli_segment(int argc, char **argv) {
    Error e = {0};
    SegmentOptions set = {.from = "box", .dtype = "f32", .generator = generator_standard};
    GeneratorSettings *g = &set.generator;
    set.points_per_side = g->points_per_side;
    set.points_per_batch = g->points_per_batch;
    set.crop_shrink = g->crop_point_shrink;
    const Option options[] = {
        {"checkpoint", OPTION_TEXT, &set.checkpoint},
        {"out", OPTION_TEXT, &set.out},
        {"point", OPTION_LIST, &set.point},
        {"box", OPTION_LIST, &set.box},
        {"mask", OPTION_TEXT, &set.mask},
        {"multimask", OPTION_FLAG, &set.multimask},
        {"save-logits", OPTION_FLAG, &set.save_logits},
        {"everything", OPTION_FLAG, &set.everything},
        {"points-per-side", OPTION_INT, &set.points_per_side},
        {"points-per-batch", OPTION_INT, &set.points_per_batch},
        {"iou-threshold", OPTION_REAL, &g->iou_threshold},
        {"stability-threshold", OPTION_REAL, &g->stability_threshold},
        {"stability-offset", OPTION_REAL, &g->stability_offset},
        {"nms", OPTION_REAL, &g->box_nms},
        {"crop-layers", OPTION_INT, &set.crop_layers},
        {"crop-overlap", OPTION_REAL, &g->crop_overlap},
        {"crop-points-shrink", OPTION_INT, &set.crop_shrink},
        {"crop-nms", OPTION_REAL, &g->crop_nms},
        {"min-area", OPTION_INT, &set.min_area},
        {"masks", OPTION_FLAG, &set.masks},
        {"prompts", OPTION_TEXT, &set.prompts},
        {"images", OPTION_TEXT, &set.images},
        {"from", OPTION_TEXT, &set.from},
        {"pictures", OPTION_FLAG, &set.pictures},
        {"hq-only", OPTION_FLAG, &set.hq_only},
        {"dtype", OPTION_TEXT, &set.dtype},
        {0},
    };
    int done = options_read(argc, argv, usage, options, &set.path, &e);
    if (done >= 0) return done ? cli_fail(&e) : 0;
    if (!options_check(&set, &e)) return cli_fail(&e);
    Segment s = {.set = &set};
    const bool fine = segment_run(&s, &e);
    segment_close(&s);
    return fine ? 0 : cli_fail(&e);
}
