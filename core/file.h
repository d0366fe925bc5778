/* file: small helpers around the file system. Errors name the path and the system's reason. */
#ifndef LETHE_FILE_H
#define LETHE_FILE_H

#include "core/base.h"

enum { FILE_PATH = 4096 }; /* room for a path */

typedef enum { FILE_NONE, FILE_REGULAR, FILE_FOLDER, FILE_LINK, FILE_OTHER } FileKind;

/* What is at `path`, a symbolic link followed (file_kind) or not (file_kind_link). FILE_NONE: nothing, or a
 * folder above it cannot be searched. */
FileKind file_kind(const char *path);
FileKind file_kind_link(const char *path);

/* A whole file, refused above `cap` bytes. A NUL follows the last byte. mem_free(*text). Pipes work too. */
bool file_read(const char *path, size_t cap, char **text, size_t *size, Error *e);

/* Replaces the file at `path`: whole or not at all, also across a power cut. Writes beside it, fsyncs,
 * renames, fsyncs the folder. On error the old file stands as it was. */
bool file_write(const char *path, const void *data, size_t size, Error *e);
/* The same, with a file that nobody but its owner may read (mode 0600), from its first byte on. */
bool file_replace_private(const char *path, const void *data, size_t size, Error *e);

/* The same for a new file, private, too: keys and secrets. What stands at
 * `path` already, be it a link, is never replaced: that is an error. */
bool file_write_private(const char *path, const void *data, size_t size, Error *e);
/* The same with the usual mode. */
bool file_write_new(const char *path, const void *data, size_t size, Error *e);

/* All of `size` bytes, over short writes and interrupts. False with errno set. Calls no allocator. */
bool file_put(int fd, const void *data, size_t size);

bool file_sync_folder(const char *path, Error *e); /* makes names created or removed inside durable */
bool file_make_folder(const char *path, Error *e); /* with all folders above; fine if it exists */
bool file_remove_tree(const char *path, Error *e); /* file or folder and all inside, links not followed; fine
                                                      if absent */

/* "a/b" into out[size]; one slash between. `b` absolute: b alone. */
bool file_join(char *out, size_t size, const char *a, const char *b, Error *e);
const char *file_base(const char *path); /* what follows the last slash; borrowed */

/* The entries of a folder but "." and "..", sorted by bytes. file_list_close(list) frees. */
typedef struct FileList {
    char **name;
    int64_t count;
} FileList;
bool file_list_open(FileList *out, const char *folder, Error *e);
void file_list_close(FileList *list);

/* Equal for two paths that lead to one file. False: there is none. */
typedef struct FileId {
    uint64_t device, inode;
} FileId;
bool file_id(const char *path, FileId *out);

/* Fills *e: "path: cannot VERB it: reason", the reason from errno `code`, with a hint where one helps. */
bool file_error(Error *e, const char *path, const char *verb, int code);

#endif
