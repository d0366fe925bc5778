#include "data/synth_hair.h"

#define PI 3.14159265f

typedef enum { FLOW_DOWN, FLOW_BACK, FLOW_PART } Flow;

typedef struct Style {
    Flow flow;
    float top, front, side, back;    /* thickness, head units */
    float low;                       /* y where hair ends at sides and back; 0: at the hairline */
    float open;                      /* long hair: phi of its edge beside the eyes, radians; 0: none */
    float fringe;                    /* y of a fringe's lower edge; 0: none */
    float wave, curl;                /* wavy lengths; lumps of curls, head units */
    float fine, stretch, fray, thin; /* see HairLook */
    float recede;                    /* how far temples and crown are bare */
} Style;

static const Style styles[HAIR_COUNT] = {
    [HAIR_BALD] = {FLOW_DOWN, .top = 0.004f, .front = 0.004f, .side = 0.006f, .back = 0.006f, .fine = 60,
                   .stretch = 1, .fray = 0.05f, .thin = 0.9f},
    [HAIR_BUZZ] = {FLOW_DOWN, .top = 0.03f, .front = 0.025f, .side = 0.018f, .back = 0.02f, .fine = 60,
                   .stretch = 1, .fray = 0.04f, .thin = 0.4f},
    [HAIR_CROP] = {FLOW_DOWN, .top = 0.10f, .front = 0.08f, .side = 0.05f, .back = 0.06f, .fringe = 0.50f,
                   .fine = 26, .stretch = 0.35f, .fray = 0.09f, .thin = 0.35f},
    [HAIR_PART] = {FLOW_PART, .top = 0.14f, .front = 0.10f, .side = 0.06f, .back = 0.08f, .fine = 24,
                   .stretch = 0.18f, .fray = 0.05f, .thin = 0.4f},
    [HAIR_SLICK] = {FLOW_BACK, .top = 0.10f, .front = 0.08f, .side = 0.05f, .back = 0.07f, .fine = 26,
                    .stretch = 0.12f, .fray = 0.03f, .thin = 0.2f},
    [HAIR_QUIFF] = {FLOW_BACK, .top = 0.20f, .front = 0.26f, .side = 0.04f, .back = 0.06f, .fine = 22,
                    .stretch = 0.2f, .fray = 0.05f, .thin = 0.25f},
    [HAIR_FRINGE] = {FLOW_DOWN, .top = 0.16f, .front = 0.12f, .side = 0.13f, .back = 0.13f, .low = -0.28f,
                     .open = 1.12f, .fringe = 0.33f, .fine = 22, .stretch = 0.2f, .fray = 0.09f,
                     .thin = 0.35f},
    [HAIR_CURLY] = {FLOW_DOWN, .top = 0.22f, .front = 0.16f, .side = 0.08f, .back = 0.10f, .fringe = 0.47f,
                    .curl = 0.05f, .fine = 15, .stretch = 0.8f, .fray = 0.12f, .thin = 0.55f},
    [HAIR_AFRO] = {FLOW_DOWN, .top = 0.36f, .front = 0.22f, .side = 0.33f, .back = 0.36f, .low = -0.25f,
                   .curl = 0.05f, .fine = 26, .stretch = 1, .fray = 0.08f, .thin = 0.6f},
    [HAIR_BUN] = {FLOW_BACK, .top = 0.07f, .front = 0.05f, .side = 0.04f, .back = 0.05f, .fine = 30,
                  .stretch = 0.1f, .fray = 0.03f, .thin = 0.15f},
    [HAIR_BOB] = {FLOW_DOWN, .top = 0.13f, .front = 0.12f, .side = 0.16f, .back = 0.18f, .low = -0.80f,
                  .open = 0.98f, .fringe = 0.30f, .fine = 24, .stretch = 0.12f, .fray = 0.05f, .thin = 0.35f},
    [HAIR_LONG] = {FLOW_PART, .top = 0.10f, .front = 0.07f, .side = 0.15f, .back = 0.16f, .low = -1.7f,
                   .open = 0.95f, .fine = 24, .stretch = 0.1f, .fray = 0.05f, .thin = 0.35f},
    [HAIR_SIDE] = {FLOW_PART, .top = 0.15f, .front = 0.11f, .side = 0.17f, .back = 0.18f, .low = -1.25f,
                   .open = 0.95f, .wave = 0.025f, .fine = 22, .stretch = 0.12f, .fray = 0.05f, .thin = 0.35f},
    [HAIR_WAVY] = {FLOW_PART, .top = 0.14f, .front = 0.09f, .side = 0.20f, .back = 0.22f, .low = -1.5f,
                   .open = 0.97f, .wave = 0.055f, .fine = 20, .stretch = 0.16f, .fray = 0.07f, .thin = 0.4f},
    [HAIR_CURLS] = {FLOW_PART, .top = 0.18f, .front = 0.12f, .side = 0.30f, .back = 0.32f, .low = -1.15f,
                    .open = 0.98f, .wave = 0.02f, .curl = 0.075f, .fine = 13, .stretch = 0.75f, .fray = 0.12f,
                    .thin = 0.55f},
    [HAIR_RECEDING] = {FLOW_BACK, .top = 0.03f, .front = 0.03f, .side = 0.06f, .back = 0.07f, .fine = 26,
                       .stretch = 0.3f, .fray = 0.12f, .thin = 0.55f, .recede = 1.0f},
};

static float bump1(float x, float c, float s) {
    float u = (x - c) / s, d = u * u;
    return d > 14.0f ? 0.0f : expf(-0.5f * d);
}

/* y of the natural hairline at angle q from the front: forehead, temple, sideburn, ear, nape. */
static float hairline(const Person *p, float q, float recede) {
    static const float at[] = {0.0f, 0.45f, 0.78f, 1.02f, 1.18f, 1.36f, 1.48f, 1.74f, 2.0f, 2.4f, 3.2f};
    static const float fall[] = {0.0f,   0.0f,   -0.05f, -0.24f, -0.50f, -0.74f,
                                 -0.56f, -0.50f, -0.74f, -1.10f, -1.16f};
    int i = 0;
    while (i < COUNT(at) - 2 && q > at[i + 1]) i++;
    float t = clampf((q - at[i]) / (at[i + 1] - at[i]), 0.0f, 1.0f);
    float y = p->hairline + mixf(fall[i], fall[i + 1], t * t * (3.0f - 2.0f * t));
    y += -p->peak * bump1(q, 0.0f, 0.16f) + (0.06f + p->peak) * bump1(q, 0.58f, 0.2f) * (0.4f + p->male);
    return y + recede * (0.55f * bump1(q, 0.0f, 0.75f) + 0.2f * bump1(q, 0.8f, 0.3f)) -
           0.12f * (1.0f - p->male) * bump1(q, 1.36f, 0.12f);
}

/* y where long hair ends. */
static float hair_end(const Person *p, const Style *s) {
    return s->low + 0.25f * (0.5f - p->hair_length);
}

/* How deep (phi, y) lies inside the hair's outline, in head units. */
static float outline(const Person *p, const Style *s, float phi, float y) {
    float q = fabsf(phi), inside = y - hairline(p, q, s->recede);
    if (s->recede > 0.0f)
        inside = minf(inside, smoothf(0.35f, 1.15f, q) * 0.5f - 0.1f - 0.6f * smoothf(0.72f, 0.95f, y));
    if (s->fringe > 0.0f) {
        float sweep = 0.10f * p->hair_part / 0.25f * phi,
              edge = s->fringe + 0.05f * (p->hair_length - 0.5f) + sweep + 0.05f * q * q;
        inside = maxf(inside, minf(y - edge, 0.9f * (1.05f - q)));
    }
    if (s->open > 0.0f) {
        float part = s->fringe > 0.0f       ? 0.0f
                     : s->flow == FLOW_PART ? p->hair_part * 1.2f
                                            : 0.0f,
              from = phi - part;
        float edge = s->open - 0.25f * smoothf(-0.3f, -1.0f, y), top = p->hairline + 0.12f,
              reach = part * from > 0.0f ? 0.34f : 0.46f;
        float gap =
            (edge - (from > 0.0f ? part : -part)) * powf(clampf((top - y) / reach, 0.0f, 1.0f), 0.65f);
        inside = maxf(inside, minf(0.65f * (fabsf(from) - gap), y - hair_end(p, s)));
    } else if (s->low < 0.0f) /* a round mass that hides the ears */
        inside = maxf(inside, minf(0.8f * (q - 1.1f), y - s->low));
    return inside;
}

/* Thickness of the hair at (phi, y), before it thins out toward its outline. */
static float thickness(const Person *p, const Style *s, const Noise *noise, const Meridian *m, float y,
                       float inside) {
    float phi = m->phi, c = m->c,
          level = c > 0.0f ? mixf(s->side, s->front, c * c) : mixf(s->side, s->back, c * c);
    float up = smoothf(0.35f, 0.95f, y), side = smoothf(1.05f, 0.92f, y), t = mixf(level, s->top, up);
    if (s->flow == FLOW_BACK) t += (s->front - s->top) * maxf(c, 0.0f) * up * bump1(y, 0.8f, 0.16f) * side;
    if (s->flow == FLOW_PART) { /* flat at the part, fuller on the heavy side */
        float from = phi - p->hair_part * 1.2f;
        t *= 1.0f - 0.5f * up * bump1(from, 0.0f, 0.18f) * smoothf(-0.3f, 0.5f, c);
        t *= 1.0f + (p->hair_part * from < 0.0f ? 0.18f : -0.05f) * up;
    }
    float ox = (float)(p->texture >> 16 & 255u);
    if (s->wave > 0.0f) t += s->wave * p->curl * sinf(9.0f * y + 2.0f * phi + ox) * smoothf(0.5f, 0.0f, y);
    if (s->curl > 0.0f)
        t += side * s->curl * p->curl *
             (noise_value(noise, 4.2f * phi + ox, 5.5f * y) +
              0.5f * noise_value(noise, 9.0f * phi + ox, 11.0f * y));
    return t * p->volume * smoothf(-0.04f, 0.16f, inside);
}

/* The ring that carries hair at height y: the skull above, a hanging curtain below when hair is long. */
static Ring hair_ring(const Face *face, const Style *s, float t) {
    const float ear = 7.0f / RING_LAST;
    if (t <= 0.55f) return head_ring(face, t / 0.55f * ear * RING_LAST);
    Ring top = head_ring(face, ear * RING_LAST);
    float end = minf(s->low, -0.55f) - 0.15f - (s->open > 0.0f ? 0.13f : 0.0f), k = (t - 0.55f) / 0.45f,
          y = mixf(top.y, end, k);
    Ring skull = head_ring(face, head_ring_at(face, maxf(y, -0.9f)));
    float hang = s->low < -0.3f ? smoothf(0.0f, -0.45f, y) : 0.0f, far = smoothf(-0.3f, -1.6f, y);
    return (Ring){y, mixf(skull.w, top.w * (1.0f - 0.06f * far), hang), mixf(skull.zm, -0.17f, hang),
                  mixf(skull.zf, 0.62f, hang), mixf(skull.zb, -0.88f + 0.2f * far, hang)};
}

static void strands(const Person *p, const Style *s, float phi, Vertex *v) {
    float q = fabsf(phi), offset = (float)(p->texture >> 8 & 255u);
    Vec want = {0.0f, -1.0f, 0.0f};
    v->u = phi + offset, v->v = v->at.y;
    if (s->flow == FLOW_BACK) {
        v->u = atan2f(v->at.x, v->at.y + 0.15f) * 1.1f + offset, v->v = v->at.z;
        want = (Vec){0.0f, -0.15f, -1.0f};
    } else if (s->flow == FLOW_PART) {
        float from = v->at.x - p->hair_part, hang = smoothf(0.80f, 0.35f, v->at.y),
              s2 = from < 0.0f ? -1.0f : 1.0f;
        float around = PI / 2.0f - atan2f(v->at.z + 0.17f, v->at.y - 0.1f);
        v->u = mixf(around, q, hang) + offset,
        v->v = mixf(from, 0.9f - v->at.y + (phi > 0.0f ? 3.0f : 0.0f), hang);
        want = (Vec){s2 * (1.0f - 0.8f * hang), -0.35f - hang, 0.25f * (1.0f - hang)};
    } else if (v->at.y > 0.6f)
        want = (Vec){v->at.x, -0.3f, v->at.z + 0.15f};
    v->flow = vec_unit(vec_minus(want, vec_scale(v->normal, vec_dot(want, v->normal))));
}

void hair_base(const Face *face, const Noise *noise, Sheet *base) {
    const Person *p = face->who;
    const Style *s = styles + p->style;
    Meridian m[HEAD_MOST];
    head_columns(m, base->cols);
    for (int i = 0; i < base->rows; i++) {
        Ring ring = hair_ring(face, s, (float)i / (float)(base->rows - 1));
        for (int j = 0; j < base->cols; j++) {
            float inside = outline(p, s, m[j].phi, ring.y);
            base->v[i * base->cols + j] = (Vertex){.at = ring_point(&ring, m + j),
                                                   .a = inside,
                                                   .b = thickness(p, s, noise, m + j, ring.y, inside)};
        }
    }
    sheet_normals(base);
    for (int i = 0; i < base->rows * base->cols; i++) strands(p, s, m[i % base->cols].phi, base->v + i);
}

void hair_shell(const Sheet *base, float level, Sheet *shell) {
    for (int i = 0; i < base->rows * base->cols; i++) {
        const Vertex *b = base->v + i;
        shell->v[i] = *b;
        shell->v[i].at = vec_plus(b->at, vec_scale(b->normal, 0.012f + level * b->b));
    }
    sheet_normals(shell);
}

bool hair_hides_ears(const Person *who) {
    return styles[who->style].low < 0.0f;
}

bool hair_bun(const Face *face, Sheet *bun) {
    const Person *p = face->who;
    if (p->style != HAIR_BUN) return false;
    float r = 0.24f * p->volume, high = 0.72f + 0.5f * p->hair_length;
    for (int i = 0; i < bun->rows; i++)
        for (int j = 0; j < bun->cols; j++) {
            float t = PI * (float)i / (float)(bun->rows - 1), a = 2.0f * PI * (float)j / (float)bun->cols;
            Vec n = {sinf(t) * sinf(a), cosf(t), sinf(t) * cosf(a)};
            bun->v[i * bun->cols + j] = (Vertex){
                .at = {1.15f * r * n.x, high + 0.9f * r * n.y, -0.62f + r * n.z + 0.4f * (high - 0.7f)},
                .flow = {n.z, 0.3f, -n.x},
                .u = n.y + 0.3f * n.x,
                .v = a,
                .a = 1.0f,
                .b = 0.1f};
        }
    sheet_normals(bun);
    return true;
}

HairLook hair_look(const Person *who, const Noise *noise) {
    const Style *s = styles + who->style;
    float shine = s->curl > 0.0f ? 0.5f : s->fine > 40.0f ? 0.3f : 1.0f;
    return (HairLook){noise, s->fray, s->fine, s->stretch, s->thin, shine * (1.0f - 0.4f * who->hair_grey)};
}

float hair_strand(const HairLook *look, float u, float v, float inside, float level, float *tone) {
    float across = u * look->fine, along = v * look->fine * look->stretch;
    float fine = noise_value(look->noise, across, along),
          lock = noise_value(look->noise, 0.31f * across + 7.0f, 0.4f * along);
    *tone = 1.0f + 0.30f * fine + 0.28f * lock;
    float edge = inside + look->fray * (0.6f * fine + 0.6f * lock) - 0.35f * look->fray * level;
    float cover = smoothf(-0.012f, 0.028f, edge), gap = look->thin * level;
    return cover * smoothf(gap - 1.05f, gap - 0.55f, 0.7f * fine + 0.5f * lock + 0.1f);
}
