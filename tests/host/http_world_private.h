// SPDX-License-Identifier: BSD-2-Clause
// Between the parts of the HTTP server's world.
#pragma once

#include "fs/volume.h"
#include "http_world.h"
#include "kernel/page.h"

#define WORLD_FILES_MAX 256
#define WORLD_PAGES_MAX 300
#define WORLD_VALUES	4

struct world_file {
	char path[300];
	struct inode inode; // number 0: a free slot; links 0: without a name
	unsigned references;
	struct page *pages[WORLD_PAGES_MAX];
	bool spoiled[WORLD_PAGES_MAX];
	uint8_t *data; // what was written; null: world_byte
	size_t data_size;
	char target[64];					// of a symbolic link
	char names[WORLD_VALUES][32], values[WORLD_VALUES][32]; // extended attributes
};
extern struct world_file world_files[WORLD_FILES_MAX];
extern unsigned world_file_count;
extern struct volume world_volume;

static inline struct world_file *world_file_of(struct inode *inode)
{
	return CONTAINER_OF(inode, struct world_file, inode);
}
bool world_chance(unsigned percent);
struct inode *world_add(const char *path, uint64_t number, uint64_t size, enum inode_type type);
uint8_t world_content(const struct world_file *f, uint64_t offset);
void world_replace_page(struct world_file *f, uint64_t index);
void world_changed(struct inode *inode);
void world_vanish(struct world_file *f);
void world_write_start(void);

void world_tcp_finish(void);
void world_rights_finish(void);
