// SPDX-License-Identifier: BSD-2-Clause
// A model in memory of what include/fs/file.h does to a tree, and the steps that a test takes on both: what a
// step must answer is said before, then it is taken on the volume, then (if it did not fail) on the model. On a
// volume of ext4_bed.h. Everything that differs is a panic that says what.
//
//	model_start();                              // the volume's root, empty but for lost+found
//	struct step step = {.kind = STEP_MKDIR, .dir = model_root, .name = "a"};
//	step_take(&step);                           // both; the answer must be the one expected
//	model_compare();                            // the whole tree
//	model_forget_inodes(); bed_unmount(true); model_compare_rdump(); bed_mount();
//	model_free();
#pragma once

#include "ext4_bed.h"
#include "fs/file.h"

struct node;
struct entry {
	char name[256];
	struct node *node;
};
struct attribute {
	char name[32];
	char *value;
	size_t size;
	struct attribute *next;
};
struct node {
	enum inode_type type;
	uint16_t mode;
	unsigned links; // names; of a directory: subdirectories and 2
	uint64_t size;
	int64_t mtime_sec; // 0: not set by the test
	uint32_t mtime_nsec;
	char *target;
	struct node *parent;   // of a directory
	struct entry *entries; // of a directory, in no order
	unsigned count;
	struct attribute *attributes;
	struct inode *open; // the test holds it
	struct node *next;  // of all
};
extern struct node *model_root, *model_nodes;
extern bool
    model_short_times; // inodes of 128 bytes: 32 bits of seconds, no nanoseconds on the disk

enum step_kind {
	STEP_CREATE,
	STEP_LINK,
	STEP_MKDIR,
	STEP_SYMLINK,
	STEP_REMOVE,
	STEP_RENAME,
	STEP_TRUNCATE,
	STEP_ATTRIBUTES,
	STEP_XATTR,
	STEP_KINDS,
};
struct step {
	enum step_kind kind;
	struct node *dir, *dir2; // where; for RENAME: to where
	const char *name, *name2;
	struct node *node; // LINK, TRUNCATE, ATTRIBUTES, XATTR: what
	unsigned mode;	   // enum name_mode; ATTRIBUTES: permissions
	uint64_t size;	   // TRUNCATE; XATTR, SYMLINK: of the value
	const char *value; // XATTR (null: remove), SYMLINK
};

void model_start(void);
void model_free(void);
int step_expect(const struct step *step);
int step_real(const struct step *step);
void step_model(const struct step *step); // after it succeeded
void step_take(const struct step *step);
const char *step_text(const struct step *step);

struct node *model_find(const struct node *dir, const char *name);
// With a reference. Null: the node has no name and is not open.
struct inode *model_inode(struct node *node);
void model_open(struct node *node); // hold it, or no more
void model_close(struct node *node);
void model_forget_inodes(void); // closes all
void model_compare(void);
void model_compare_rdump(void); // of the image, unmounted
