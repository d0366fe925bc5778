#include "data/synth_head.h"

#define PI 3.14159265f

/* Gaussians, cut where they no longer matter. */
static float gauss(float d) {
    return d > 14.0f ? 0.0f : expf(-0.5f * d);
}

static float bump(float x, float y, float cx, float cy, float sx, float sy) {
    float u = (x - cx) / sx, v = (y - cy) / sy;
    return gauss(u * u + v * v);
}

static float bump1(float x, float c, float s) {
    float u = (x - c) / s;
    return gauss(u * u);
}

/* A head of average build, measured in head units: crown, forehead, eyes (y = 0), nose, mouth, chin. */
static const Ring ring_table[] = {
    {1.06f, 0.0f, -0.15f, -0.15f, -0.15f},   {1.03f, 0.25f, -0.15f, 0.15f, -0.47f},
    {0.93f, 0.46f, -0.16f, 0.42f, -0.76f},   {0.76f, 0.61f, -0.16f, 0.62f, -0.93f},
    {0.55f, 0.69f, -0.17f, 0.74f, -1.01f},   {0.33f, 0.71f, -0.18f, 0.79f, -1.03f},
    {0.15f, 0.70f, -0.18f, 0.78f, -1.01f},   {0.0f, 0.685f, -0.17f, 0.765f, -0.96f},
    {-0.15f, 0.665f, -0.15f, 0.76f, -0.88f}, {-0.3f, 0.635f, -0.12f, 0.76f, -0.78f},
    {-0.45f, 0.595f, -0.08f, 0.76f, -0.66f}, {-0.6f, 0.54f, -0.02f, 0.755f, -0.52f},
    {-0.75f, 0.455f, 0.08f, 0.735f, -0.36f}, {-0.865f, 0.36f, 0.2f, 0.70f, -0.15f},
    {-0.95f, 0.245f, 0.31f, 0.64f, 0.04f},   {-0.995f, 0.13f, 0.38f, 0.54f, 0.22f},
    {-1.01f, 0.0f, 0.42f, 0.42f, 0.42f},
};

static float spline(float a, float b, float c, float d, float t) {
    return b + 0.5f * t * (c - a + t * (2.0f * a - 5.0f * b + 4.0f * c - d + t * (3.0f * (b - c) + d - a)));
}

Ring head_ring(const Face *face, float t) {
    const Person *p = face->who;
    int last = COUNT(ring_table) - 1, i = (int)clampf(t, 0.0f, (float)last - 0.001f);
    const Ring *k[4] = {ring_table + (i > 0 ? i - 1 : 0), ring_table + i, ring_table + i + 1,
                        ring_table + (i + 2 <= last ? i + 2 : last)};
    float s = clampf(t, 0.0f, (float)last) - (float)i;
    Ring r = {spline(k[0]->y, k[1]->y, k[2]->y, k[3]->y, s), spline(k[0]->w, k[1]->w, k[2]->w, k[3]->w, s),
              spline(k[0]->zm, k[1]->zm, k[2]->zm, k[3]->zm, s),
              spline(k[0]->zf, k[1]->zf, k[2]->zf, k[3]->zf, s),
              spline(k[0]->zb, k[1]->zb, k[2]->zb, k[3]->zb, s)};
    float y = r.y, chin = smoothf(-0.72f, -0.98f, y);
    float w = p->width * mixf(1.0f, p->forehead, bump1(y, 0.5f, 0.22f)) *
              mixf(1.0f, p->cheek, bump1(y, -0.2f, 0.2f));
    w *= mixf(1.0f, p->jaw, smoothf(-0.25f, -0.65f, y));
    r.w = maxf(r.w, 0.0f) * w * mixf(1.0f, p->chin_w, chin);
    r.zf += (r.zm - r.zf) * 0.4f * (1.0f - p->depth);
    r.zb += (r.zm - r.zb) * (1.0f - p->depth);
    r.y = y * p->length - chin * p->chin_l - face->chin_drop * smoothf(-0.55f, -0.9f, y);
    return r;
}

float head_ring_at(const Face *face, float y) {
    float lo = 0.0f, hi = RING_LAST;
    for (int i = 0; i < 14; i++) {
        float t = 0.5f * (lo + hi);
        if (head_ring(face, t).y > y)
            lo = t;
        else
            hi = t;
    }
    return 0.5f * (lo + hi);
}

/* Superellipses: the face is a little flatter in front than a circle would be. */
Meridian head_meridian(float phi) {
    float s = sinf(phi), c = cosf(phi);
    return (Meridian){phi, c, copysignf(powf(fabsf(s), 0.93f), s),
                      copysignf(powf(fabsf(c), c > 0.0f ? 0.86f : 0.95f), c)};
}

void head_columns(Meridian *m, int cols) {
    if (cols > HEAD_MOST) die("head_columns: %d columns; at most %d", cols, HEAD_MOST);
    for (int j = 0; j < cols; j++) {
        float a = -PI + 2.0f * PI * (float)j / (float)cols;
        m[j] = head_meridian(a - 0.6f * sinf(a));
    }
}

Vec ring_point(const Ring *ring, const Meridian *m) {
    float depth = m->z > 0.0f ? ring->zf - ring->zm : ring->zm - ring->zb;
    return (Vec){ring->w * m->x, ring->y, ring->zm + depth * m->z};
}

/* ------------------------------------------------------------------ the face */

static float nose_relief(const Person *p, float x, float y) {
    float tip = p->nose_y, root = 0.13f;
    float up = clampf((root - y) / (root - tip), 0.0f, 1.0f); /* 0 at the root, 1 at the tip */
    float drop = clampf((tip + 0.03f - y) / 0.15f, 0.0f, 1.0f);
    float under = sqrtf(1.0f - drop * drop); /* a quarter of an ellipse: round tip, steep below */
    float ridge = mixf(p->nose_bridge, p->nose_out, powf(up, 1.3f)) + p->nose_hook * bump1(up, 0.5f, 0.2f);
    ridge *= smoothf(root + 0.16f, root - 0.05f, y) * under;
    float half = mixf(0.052f, 0.066f, up) + (p->nose_tip - 0.06f) * smoothf(0.6f, 1.0f, up);
    float ax = fabsf(x), slope = expf(-0.55f * (ax / half) * (ax / half));
    float side = 0.35f * mixf(0.5f, 1.0f, up) * bump1(ax, 0.0f, half * 2.0f); /* the foot of the nose */
    float height = ridge * (0.72f * slope + side);
    height += 0.03f * bump(x, y, 0.0f, tip, p->nose_tip, 0.05f);
    float wing = bump(ax, y, p->nose_w - 0.04f, tip - 0.035f, 0.042f, 0.05f);
    return height + 0.10f * wing * smoothf(tip - 0.12f, tip - 0.05f, y);
}

static float mouth_relief(const Face *face, float x, float y) {
    const Person *p = face->who;
    float line = face_lip_line(face, x), w = face->mouth_w, ax = fabsf(x);
    float inside = smoothf(w * 1.06f, w * 0.72f, ax),
          low = line - face->gap * (1.0f - clampf(ax / w, 0.0f, 1.0f));
    float up = (y - line) / maxf(face->lip_up, 0.02f), down = (low - y) / maxf(face->lip_low, 0.02f);
    float h = 0.055f * bump(x, y, 0.0f, p->mouth_y + 0.02f, 0.26f, 0.16f); /* teeth push the lips out */
    h += inside * (0.26f * face->lip_up + 0.012f) * bump1(up, 0.45f, 0.55f);
    h += inside * (0.30f * face->lip_low + 0.014f) * bump1(down, 0.5f, 0.6f);
    h -= inside * 0.022f * bump1(y, line, 0.014f);
    if (face->gap > 0.003f)
        h -= 0.07f * inside * smoothf(line + 0.006f, line - 0.01f, y) * smoothf(low - 0.01f, low + 0.006f, y);
    h -= 0.018f * bump(x, y, 0.0f, low - face->lip_low - 0.055f, 0.13f, 0.04f); /* dent above the chin */
    h -= 0.010f * bump1(ax, 0.0f, 0.022f) * bump1(y, line + face->lip_up + 0.05f, 0.045f); /* philtrum */
    h -= 0.03f * bump(ax, y, w + 0.015f, face_lip_line(face, w), 0.035f, 0.04f);
    return h;
}

/* The eyeball's front sphere, covered by lids a little thicker; what is outside keeps the socket. */
static float eye_relief(const Face *face, float x, float y, float socket) {
    const Person *p = face->who;
    const float radius = 0.19f, stand = -0.045f; /* the ball's foremost point, against the face's surface */
    float dx = fabsf(x) - p->eye_x, dy = y - p->eye_y, d = dx * dx + dy * dy;
    if (d > 0.05f) return socket;
    float ball = stand - radius + sqrtf(maxf(radius * radius - d, 0.0f));
    float edge = clampf(1.0f - powf(dx / p->eye_w, 2.0f), 0.0f, 1.0f), tilt = p->eye_tilt * dx;
    float up = face->eye_up * edge + tilt, low = -face->eye_low * edge + tilt;
    float open = smoothf(up + 0.012f, up - 0.008f, dy) * smoothf(low - 0.012f, low + 0.008f, dy);
    float lids = ball + 0.022f * (1.0f - open), k = 0.025f,
          t = clampf(0.5f + 0.5f * (lids - socket) / k, 0.0f, 1.0f);
    return mixf(socket, lids, t) + k * t * (1.0f - t); /* smooth maximum */
}

float face_relief(const Face *face, float x, float y) {
    const Person *p = face->who;
    float ax = fabsf(x), smile = maxf(face->shot->smile, 0.0f);
    float brow = p->eye_y + p->brow_y + 0.02f;
    float h = p->brow_ridge * bump(ax, y, 0.22f, brow, 0.17f, 0.055f);
    h += 0.6f * p->brow_ridge * bump(x, y, 0.0f, brow + 0.01f, 0.12f, 0.06f);
    h -= p->socket * bump(ax, y, p->eye_x - 0.03f, p->eye_y + 0.02f, 0.15f, 0.095f);
    h += p->cheekbone * bump(ax, y, 0.43f, -0.14f, 0.13f, 0.10f);
    h -= p->hollow * bump(ax, y, 0.42f, -0.45f, 0.10f, 0.14f);
    h += 0.05f * smile * bump(ax, y, 0.33f, -0.24f, 0.11f, 0.09f);
    h -= (0.010f + 0.022f * smile + 0.012f * p->age) *
         bump1(ax - 0.18f - 0.28f * (p->nose_y - 0.02f - y), 0.0f, 0.03f) *
         smoothf(p->nose_y + 0.02f, p->nose_y - 0.04f, y) * smoothf(-0.62f, -0.50f, y); /* smile lines */
    h += 0.045f * bump(x, y, 0.0f, -0.89f - p->chin_l - face->chin_drop, 0.11f, 0.08f);
    h = eye_relief(face, x, y, h);
    return h + nose_relief(p, x, y) + mouth_relief(face, x, y);
}

void head_shape(const Face *face, Sheet *head) {
    Meridian m[HEAD_MOST];
    head_columns(m, head->cols);
    for (int i = 0; i < head->rows; i++) {
        Ring ring = head_ring(face, RING_LAST * (float)i / (float)(head->rows - 1));
        for (int j = 0; j < head->cols; j++) {
            float front = smoothf(0.0f, 0.35f, m[j].c);
            Vec at = ring_point(&ring, m + j);
            if (front > 0.0f) at.z += front * face_relief(face, at.x, at.y);
            head->v[i * head->cols + j] =
                (Vertex){.at = at, .u = at.x, .v = at.y, .a = smoothf(0.02f, 0.3f, m[j].c)};
        }
    }
    sheet_normals(head);
}

/* ------------------------------------------------------------------ ears, neck, body */

/* A shallow shell: from the rim's outer edge in to the bowl. */
void ear_shape(const Face *face, Sheet *ear, float side) {
    const Person *p = face->who;
    Ring ring = head_ring(face, head_ring_at(face, -0.08f));
    float out = p->ear_out, h = p->ear_h;
    Vec middle = {side * (ring.w - 0.005f), -0.07f, ring.zm - 0.06f};
    for (int i = 0; i < ear->rows; i++) {
        float rad = 1.0f - (float)i / (float)(ear->rows - 1);
        float lift = 0.055f * bump1(rad, 0.80f, 0.14f) - 0.015f * smoothf(0.6f, 0.2f, rad) -
                     0.05f * smoothf(0.9f, 1.0f, rad);
        for (int j = 0; j < ear->cols; j++) {
            float a = 2.0f * PI * (float)j / (float)ear->cols, lobe = smoothf(0.0f, -1.0f, sinf(a));
            float back = rad * cosf(a) * h * (0.60f - 0.18f * lobe), up = rad * sinf(a) * h;
            back += 0.22f * up; /* the upper half leans backward */
            float away = lift + out * (0.5f * h + back) * 0.9f + 0.01f;
            float turn = side > 0.0f ? 1.0f : -1.0f;
            Vertex *v = ear->v + i * ear->cols + (side < 0.0f ? j : (ear->cols - j) % ear->cols);
            *v = (Vertex){.at = {middle.x + turn * away, middle.y + up, middle.z - back * 0.92f},
                          .u = middle.x,
                          .v = middle.y + up,
                          .a = smoothf(0.62f, 0.25f, rad) + 0.4f * bump1(rad, 0.95f, 0.05f)};
        }
    }
    sheet_normals(ear);
}

void neck_shape(const Face *face, Sheet *neck) {
    float r = (0.37f + 0.09f * face->who->male) * (0.5f + 0.5f * face->who->width);
    for (int i = 0; i < neck->rows; i++) {
        float t = (float)i / (float)(neck->rows - 1), y = mixf(-0.35f, -1.75f, t), flare = t * t * t;
        for (int j = 0; j < neck->cols; j++) {
            float a = -PI + 2.0f * PI * (float)j / (float)neck->cols, s = sinf(a), c = cosf(a);
            /* two cords run from behind the ears to the notch between the collar bones */
            float cord = 0.025f * bump1(fabsf(a), mixf(1.1f, 0.35f, t), 0.22f);
            Vec at = {(r * (1.0f + 0.45f * flare) + cord) * s, y,
                      -0.24f + 0.18f * t + (0.92f * r + cord) * c};
            neck->v[i * neck->cols + j] = (Vertex){.at = at, .u = at.x, .v = at.y, .b = c};
        }
    }
    sheet_normals(neck);
}

float body_neckline(const Face *face, float x) {
    static const float depth_of[WEAR_COUNT] = {0.02f, 0.30f, 0.24f, -0.22f, 0.06f}; /* below the throat */
    Wear wear = face->shot->wear;
    float narrow = wear == WEAR_VEE || wear == WEAR_SHIRT ? 3.2f : 1.0f, ax = fabsf(x);
    return -1.36f - depth_of[wear] * maxf(0.0f, 1.0f - narrow * ax) + 0.10f * ax;
}

void body_shape(const Face *face, Sheet *body) {
    const Person *p = face->who;
    float broad = (1.26f + 0.30f * p->male) * (0.6f + 0.4f * p->width);
    Meridian m[HEAD_MOST];
    head_columns(m, body->cols);
    for (int i = 0; i < body->rows; i++) {
        float t = (float)i / (float)(body->rows - 1), y = -1.18f - 0.16f * t - 2.2f * t * t;
        float slope = smoothf(0.0f, 0.62f, t), w = mixf(0.40f, broad, powf(slope, 0.8f)),
              d = mixf(0.36f, 0.62f, slope);
        for (int j = 0; j < body->cols; j++) {
            float s = sinf(m[j].phi), c = m[j].c;
            Vec at = {w * copysignf(powf(fabsf(s), 0.85f), s), y - 0.10f * c * (1.0f - slope),
                      -0.16f + d * copysignf(powf(fabsf(c), 0.8f), c)};
            body->v[i * body->cols + j] = (Vertex){.at = at, .u = at.x, .v = at.y, .a = c};
        }
    }
    sheet_normals(body);
}
