/* zip: the table of contents of a zip file whose entries are stored, as torch.save writes it. Nothing is
 * unpacked. Source: APPNOTE 6.3.10 of PKWARE (the end records, the central directory, local headers, zip64).
 *
 *     local header, data, padding ... | central directory | zip64 end, its locator (may be absent) | end
 *
 * Refused, each with a line that names the file and the byte or the entry: an end record that is not the
 * file's last 22 bytes, several disks, a directory that does not end where the end records begin, compressed
 * or encrypted entries, a name twice, an entry beyond the directory or over another, a local header that says
 * otherwise than the directory.
 *
 * An own reader and not libzip, because that tells no caller where an entry lies in the file: then neither
 * can overlaps be found nor tensors be read straight from their place. */
#ifndef LETHE_ZIP_H
#define LETHE_ZIP_H

#include "core/input.h"

enum { ZIP_MAX_ENTRIES = 1 << 20, ZIP_MAX_DIRECTORY = 100000000 };

typedef struct ZipEntry {
    const char *name;     /* may hold anything but NUL: print it through safe_name_text */
    uint64_t begin, size; /* of its data in the file, bytes */
    uint64_t header;      /* where its local header begins */
    uint32_t crc;         /* 0: its writer left it out */
} ZipEntry;

typedef struct Zip {
    ZipEntry *entry; /* by name */
    int64_t count;
    char *text; /* the names */
} Zip;

bool zip_open(Zip *z, const Input *in, Error *e); /* after a failure, too, zip_close frees what was taken */
void zip_close(Zip *z);
const ZipEntry *zip_find(const Zip *z, const char *name); /* NULL: no such entry */

/* Reads all of an entry and compares its checksum, if it has one. */
bool zip_check(const Input *in, const ZipEntry *x, Error *e);

#endif
