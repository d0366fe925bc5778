#include "segment/recognise.h"

#include "core/json.h"
#include "segment/image_encoder.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *size, *what;
} encoder[SAM_SIZES] = {
    [SAM_MICRO] = {"micro", "micro"}, [SAM_TINY] = {"tiny", "TinyViT"}, [SAM_SMALL] = {"small", "small"},
    [SAM_BASE] = {"base", "ViT-B"},   [SAM_LARGE] = {"large", "ViT-L"}, [SAM_HUGE] = {"huge", "ViT-H"},
};

static bool shaped(const Weights *w, const char *name, const int64_t dim[4]) {
    const SafeEntry *x = weights_find(w, name);
    return x && x->ndim == 4 && memcmp(x->dim, dim, 4 * sizeof *dim) == 0;
}

static int64_t count_blocks(const Weights *w) {
    char name[96];
    for (int64_t n = 0;; n++) {
        snprintf(name, sizeof name, "image_encoder.blocks.%" PRId64 ".attn.qkv.weight", n);
        if (!weights_find(w, name)) return n;
    }
}

/* MobileSAM's TinyViT-5M: 64 channels at its stem, 320 before its neck. */
static bool is_tiny(const Weights *w) {
    return shaped(w, "image_encoder.layers.0.blocks.0.conv1.c.weight", (int64_t[]){256, 64, 1, 1}) &&
           shaped(w, "image_encoder.neck.0.weight", (int64_t[]){256, 320, 1, 1});
}

/* The size of the encoder, and the side of the image it sees; -1: one that Lethe does not have. */
static int size_of(const Weights *w, int64_t *side) {
    const SafeEntry *table = weights_find(w, "image_encoder.pos_embed");
    *side = 1024;
    if (is_tiny(w)) return SAM_TINY;
    if (!table || table->ndim != 4 || table->dim[1] != table->dim[2] || table->dim[1] > 256) return -1;
    *side = 16 * table->dim[1];
    for (int i = 0; i < SAM_SIZES; i++) {
        int64_t dim = sam_encoder_dim((SamSize)i);
        if (dim == table->dim[3] && sam_encoder_depth((SamSize)i) == count_blocks(w) &&
            shaped(w, "image_encoder.patch_embed.proj.weight", (int64_t[]){dim, 3, 16, 16}))
            return i;
    }
    return -1;
}

static void put_recipe(TaskGuess *out, int size, int64_t side, bool hq) {
    JsonWriter w = json_writer(out->recipe, sizeof out->recipe, 0);
    json_put_open(&w, NULL, '{');
    json_put_text(&w, "task", "segment");
    json_put_open(&w, "model", '{');
    json_put_text(&w, "size", encoder[size].size);
    json_put_int(&w, "image_size", side);
    json_put_bool(&w, "hq", hq);
    json_put_close(&w, '}');
    json_put_close(&w, '}');
}

bool sam_recognise(const Weights *w, TaskGuess *out) {
    int64_t side;
    if (!weights_find(w, "mask_decoder.iou_token.weight") || !weights_find(w, "image_encoder.neck.0.weight"))
        return false;
    bool hq = weights_find(w, "mask_decoder.hf_token.weight") != NULL;
    int size = size_of(w, &side);
    out->recipe[0] = '\0';
    if (size < 0) {
        snprintf(out->what, sizeof out->what, "%s, with an image encoder that Lethe does not have",
                 hq ? "HQ-SAM" : "SAM");
        return true;
    }
    if (size == SAM_TINY)
        snprintf(out->what, sizeof out->what, "%s (TinyViT)", hq ? "Light HQ-SAM" : "MobileSAM");
    else
        snprintf(out->what, sizeof out->what, "%s %s", hq ? "HQ-SAM" : "SAM", encoder[size].what);
    put_recipe(out, size, side, hq);
    return true;
}
