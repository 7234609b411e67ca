// SPDX-License-Identifier: BSD-2-Clause
// Sixteen files on a real ext4 volume (ext4_bed.h), f0 to f15, and what a model knows of them: which of their blocks
// have a place. Needs tests/host/alloc_model.c and what ext4_bed.h says in a test's SOURCES.
#pragma once

#include "ext4_bed.h"

#define MODEL_FILES  16
#define MODEL_BLOCKS 6000 // of a file; beyond that the model knows nothing

struct model_file {
	struct inode *inode;
	bool mapped[MODEL_BLOCKS];
};
extern struct model_file model_files[MODEL_FILES];
extern struct ext4 *model_fs;

void model_start(const char *mke2fs_words, const char *size); // a volume with empty files
void model_finish(void);				      // closed, unmounted, judged
void model_open(void);					      // the files; put: closes them
void model_put(void);
uint32_t model_credits(enum filesystem_change change);
// One call of ext4_allocate in a transaction; the file grows to its end as a writer's would have.
int model_allocate(struct model_file *file, uint64_t block, uint64_t count, struct fs_extent *out);
// All of a stretch. 0, -ENOSPC.
int model_fill(struct model_file *file, uint64_t block, uint64_t count);
int model_truncate(struct model_file *file, uint64_t size);
// Every file maps what the model says, in memory and on the disk, and no block is in two files.
void model_check(void);
