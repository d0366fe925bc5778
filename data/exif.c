#include "data/exif.h"

#include <string.h>

static uint32_t word(const uint8_t *p, int bytes, bool little) {
    uint32_t v = 0;
    for (int i = 0; i < bytes; i++) v = v << 8 | p[little ? bytes - 1 - i : i];
    return v;
}

int exif_orientation(const uint8_t *payload, size_t size) {
    enum { TAG = 0x0112, SHORT = 3, ENTRY = 12 };
    if (size < 14 || memcmp(payload, "Exif\0\0", 6) != 0) return 1;
    const uint8_t *tiff = payload + 6;
    size -= 6;
    bool little = tiff[0] == 'I';
    if (memcmp(tiff, little ? "II*\0" : "MM\0*", 4) != 0) return 1;
    size_t table = word(tiff + 4, 4, little);
    if (table > size - 2) return 1;
    size_t entries = word(tiff + table, 2, little);
    for (size_t i = 0; i < entries; i++) {
        size_t at = table + 2 + i * ENTRY;
        if (at + ENTRY > size) return 1;
        const uint8_t *entry = tiff + at;
        if (word(entry, 2, little) != TAG) continue;
        uint32_t value = word(entry + 8, 2, little);
        bool good = word(entry + 2, 2, little) == SHORT && word(entry + 4, 4, little) == 1;
        return good && value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}
