#include "segment/sam.h"

#include "core/ops.h"
#include "segment/moves.h"

#include <inttypes.h>
#include <string.h>

RECIPE_TABLE(sam_table, "Segment Anything", SamSettings, SAM_FIELDS);

bool sam_declare(Sam *m, Params *p, const SamSettings *set, Error *e) {
    *m = (Sam){.set = *set, .side = set->image_size, .grid = set->image_size / 16};
    if (set->image_size % 64)
        return error_set(e, ERROR_VALUE, "model.image_size %" PRId64 " is not a multiple of 64",
                         set->image_size);
    bool tiny = set->size == SAM_TINY;
    if (!(tiny ? tiny_vit_declare(&m->tiny, p, set, e) : sam_encoder_declare(&m->vit, p, set, e)))
        return false;
    prompt_encoder_declare(&m->prompt, p, m->grid);
    mask_decoder_declare(&m->decoder, p, m->grid, set->hq, tiny ? TINY_VIT_EARLY : m->vit.dim);
    return true;
}

void sam_free(Sam *m) {
    if (m->set.size == SAM_TINY)
        tiny_vit_free(&m->tiny);
    else
        sam_encoder_free(&m->vit);
}

SamEmbedding sam_embed(Step *s, const Sam *m, Tensor *image, const SamWatch *watch) {
    Tensor *early = NULL, **wanted = m->set.hq ? &early : NULL;
    SamEmbedding on = {0};
    on.image = m->set.size == SAM_TINY ? tiny_vit_run(s, &m->tiny, image, wanted, watch)
                                       : sam_encoder_run(s, &m->vit, image, wanted, watch);
    if (!on.image) return on;
    if (early) on.fine = mask_decoder_fine(s, &m->decoder, on.image, early);
    on.place = prompt_encoder_grid(s, &m->prompt);
    return on;
}

static void zeros_fill(const Step *s, const void *self, Tensor *const *host) {
    (void)s, (void)self;
    memset(host[0]->data, 0, tensor_bytes(host[0]));
}

/* x [B, ..] -> [N, ..]: that of image of[i] for prompt i. */
static Tensor *repeat(Step *s, Tensor *x, Tensor *of) {
    int64_t dim[TENSOR_MAX_DIM], each = tensor_count(x) / x->dim[0];
    int ndim = x->ndim;
    memcpy(dim, x->dim, sizeof dim);
    dim[0] = of->dim[1];
    x = op_gather(s, op_reshape(s, x, 3, (int64_t[]){1, x->dim[0], each}), of, NULL);
    return op_reshape(s, x, ndim, dim);
}

/* All prompts are about the first image. */
static Tensor *first_image(Step *s, int64_t n) {
    Tensor *of, like = {.ndim = 2, .dim = {1, n}, .dtype = DT_I32, .name = "image of each prompt"};
    step_given(s, 1, &of, &like, zeros_fill, NULL);
    return of;
}

SamAnswer sam_answer(Step *s, const Sam *m, const SamEmbedding *on, Tensor *of, const SamPrompt *prompt) {
    int64_t n = prompt->point ? prompt->point->dim[0] : prompt->mask ? prompt->mask->dim[0] : 1;
    Tensor *sparse = NULL, *fine = on->fine, *image = tokens_of(s, on->image);
    if (!of && (n > 1 || on->image->dim[0] > 1)) of = first_image(s, n);
    /* added before it is repeated, where all prompts have the same */
    if (!prompt->mask)
        image = op_add(s, image, op_reshape(s, m->prompt.no_mask, 1, (int64_t[]){SAM_CHANNELS}));
    if (of) image = repeat(s, image, of);
    if (of && fine) fine = repeat(s, fine, of);
    if (prompt->mask)
        image = op_add(s, image, tokens_of(s, prompt_encoder_dense(s, &m->prompt, prompt->mask)));
    if (prompt->point) sparse = prompt_encoder_sparse(s, &m->prompt, prompt->point, prompt->label);
    DecoderOut out = mask_decoder_run(s, &m->decoder, image, on->place, sparse, fine);
    return (SamAnswer){out.mask, out.iou, out.fine};
}
