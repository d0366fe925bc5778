/* torch_zip: writes small zip files as torch.save does, into a buffer, for tests that then damage them. */
#ifndef LETHE_TESTS_TORCH_ZIP_H
#define LETHE_TESTS_TORCH_ZIP_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { ZIP_ROWS = 16, ZIP_LOCAL = 30, ZIP_CENTRAL = 46 };

typedef struct ZipOut {
    uint8_t *bytes; /* room for `room` */
    size_t size, room;
    int rows;
    struct {
        const char *name;
        size_t header, data, size, central; /* where things lie */
        uint32_t crc;
    } row[ZIP_ROWS];
    size_t directory, end;
} ZipOut;

static inline void zip_put(ZipOut *z, const void *data, size_t size) {
    if (size > z->room - z->size) abort();
    if (size) memcpy(z->bytes + z->size, data, size);
    z->size += size;
}

/* Little endian, as everything here. */
static inline void zip_number(ZipOut *z, uint64_t n, size_t bytes) {
    uint64_t word[2] = {n, 0};
    zip_put(z, word, bytes);
}

static inline void zip_add(ZipOut *z, const char *name, const void *data, size_t size) {
    if (z->rows == ZIP_ROWS) abort();
    uint32_t crc = (uint32_t)crc32(0, data, (uInt)size);
    z->row[z->rows].name = name;
    z->row[z->rows].header = z->size;
    z->row[z->rows].size = size;
    z->row[z->rows].crc = crc;
    zip_number(z, 0x04034b50, 4);
    zip_number(z, 0, 10); /* version, flags, method, time, date */
    zip_number(z, crc, 4);
    zip_number(z, size, 4);
    zip_number(z, size, 4);
    zip_number(z, strlen(name), 4); /* and no extra field */
    zip_put(z, name, strlen(name));
    z->row[z->rows++].data = z->size;
    zip_put(z, data, size);
}

static inline void zip_end(ZipOut *z) {
    z->directory = z->size;
    for (int i = 0; i < z->rows; i++) {
        z->row[i].central = z->size;
        zip_number(z, 0x02014b50, 4);
        zip_number(z, 0, 12); /* versions, flags, method, time, date */
        zip_number(z, z->row[i].crc, 4);
        zip_number(z, z->row[i].size, 4);
        zip_number(z, z->row[i].size, 4);
        zip_number(z, strlen(z->row[i].name), 4); /* and no extra field */
        zip_number(z, 0, 10);                     /* comment, disk, attributes */
        zip_number(z, z->row[i].header, 4);
        zip_put(z, z->row[i].name, strlen(z->row[i].name));
    }
    z->end = z->size;
    zip_number(z, 0x06054b50, 4);
    zip_number(z, 0, 4);
    zip_number(z, (uint64_t)z->rows, 2);
    zip_number(z, (uint64_t)z->rows, 2);
    zip_number(z, z->end - z->directory, 4);
    zip_number(z, z->directory, 4);
    zip_number(z, 0, 2);
}

#endif
