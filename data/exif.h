/* exif: which way up a photograph is. EXIF 2.3, tag 0x0112 in IFD 0. */
#ifndef LETHE_EXIF_H
#define LETHE_EXIF_H

#include "core/base.h"

/* The orientation 1..8 in the payload of a JPEG's APP1 marker; 1 when there is none or the payload is broken
 * (a broken thumbnail table must not cost a good picture). */
int exif_orientation(const uint8_t *payload, size_t size);

#endif
