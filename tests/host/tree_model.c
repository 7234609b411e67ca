// SPDX-License-Identifier: BSD-2-Clause
// See tree_model.h: the model and its comparison with the volume. tree_step.c has the steps.
#define _GNU_SOURCE
#include "tree_model.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/volume_private.h"
#include "kernel/panic.h"
#include "shim.h"

struct node *model_root, *model_nodes;
bool model_short_times;

struct node *model_find(const struct node *dir, const char *name)
{
	for (unsigned i = 0; i < dir->count; i++)
		if (!strcmp(dir->entries[i].name, name))
			return dir->entries[i].node;
	return NULL;
}

static void free_node(struct node *node)
{
	for (struct attribute *a = node->attributes, *next; a; a = next) {
		next = a->next;
		free(a->value);
		free(a);
	}
	free(node->entries);
	free(node->target);
	free(node);
}

void model_start(void)
{
	static const struct step lost_found = {.kind = STEP_MKDIR, .name = "lost+found"};
	struct step step = lost_found;
	model_root = calloc(1, sizeof(*model_root));
	*model_root =
	    (struct node){.type = INODE_DIRECTORY, .mode = 0755, .links = 2, .parent = model_root};
	model_nodes = model_root;
	step.dir = model_root;
	step.mode = 0700;
	step_model(&step);
}

void model_free(void)
{
	model_forget_inodes();
	for (struct node *node = model_nodes, *next; node; node = next) {
		next = node->next;
		free_node(node);
	}
	model_root = model_nodes = NULL;
}

void model_open(struct node *node)
{
	if (!node->open)
		node->open = model_inode(node);
}

void model_close(struct node *node)
{
	if (node->open)
		inode_put(node->open);
	node->open = NULL;
}

void model_forget_inodes(void)
{
	for (struct node *node = model_nodes; node; node = node->next)
		model_close(node);
	shim_run();
}

// A directory's path, from its parents.
static void path_of(const struct node *dir, char *path, size_t size)
{
	*path = 0;
	if (dir->parent == dir)
		return;
	path_of(dir->parent, path, size);
	for (unsigned i = 0; i < dir->parent->count; i++)
		if (dir->parent->entries[i].node == dir) {
			size_t used = strlen(path);
			snprintf(path + used, size - used, "/%s", dir->parent->entries[i].name);
			return;
		}
	PANIC("a directory that its parent does not have");
}

static struct inode *open_child(struct inode *dir, const char *name)
{
	struct inode *inode = NULL;
	uint64_t number;
	int error = volume_filesystem(bed_volume)->lookup(dir, name, strlen(name), &number);
	if (!error)
		error = inode_open(bed_volume, number, &inode);
	if (error)
		PANIC("%s: %d", name, error);
	return inode;
}

static struct inode *open_dir(const struct node *node)
{
	char path[8192];
	struct inode *inode;
	path_of(node, path, sizeof(path));
	int error = name_find_wait(bed_volume, path, strlen(path), &inode);
	if (error)
		PANIC("%s: %d", path, error);
	return inode;
}

struct inode *model_inode(struct node *node)
{
	if (node->open) {
		inode_get(node->open);
		return node->open;
	}
	if (node->type == INODE_DIRECTORY)
		return node->links ? open_dir(node) : NULL;
	for (struct node *dir = model_nodes; dir; dir = dir->next)
		for (unsigned i = 0; i < dir->count; i++)
			if (dir->entries[i].node == node) {
				struct inode *parent = open_dir(dir);
				struct inode *found = open_child(parent, dir->entries[i].name);
				inode_put(parent);
				return found;
			}
	return NULL;
}

// ---- comparison ----

static void compare_attributes(struct node *node, struct inode *inode, const char *path)
{
	static char names[65536], value[65536];
	size_t want = 0;
	int len = xattr_list(inode, names, sizeof(names));
	for (struct attribute *a = node->attributes; a; a = a->next) {
		int size = xattr_get(inode, a->name, value, sizeof(value));
		if (size != (int)a->size || memcmp(value, a->value, a->size))
			PANIC("%s: attribute %s: %d", path, a->name, size);
		ASSERT(xattr_get(inode, a->name, NULL, 0) == size);
		want += strlen(a->name) + 1;
	}
	if (len != (int)want)
		PANIC("%s: %d bytes of attribute names, not %zu", path, len, want);
}

struct seen {
	struct node *dir;
	unsigned count;
	const char *path;
};

static void compare_node(struct node *node, struct inode *inode, const char *path);

static bool compare_entry(void *ctx, const struct dir_entry *entry)
{
	struct seen *seen = ctx;
	char name[256], path[8192];
	memcpy(name, entry->name, entry->name_len);
	name[entry->name_len] = 0;
	snprintf(path, sizeof(path), "%s/%s", seen->path, name);
	struct node *node = model_find(seen->dir, name);
	if (!node)
		PANIC("%s should not be there", path);
	if (node->type != entry->type)
		PANIC("%s: type %d", path, entry->type);
	seen->count++;
	return true;
}

static void compare_dir(struct node *dir, struct inode *inode, const char *path)
{
	struct seen seen = {.dir = dir, .path = path};
	uint64_t cursor = 0;
	int error = inode_read_dir(inode, &cursor, compare_entry, &seen);
	if (error || seen.count != dir->count)
		PANIC("%s: %u names, not %u (%d)", path, seen.count, dir->count, error);
	for (unsigned i = 0; i < dir->count; i++) {
		char child_path[8192];
		snprintf(child_path, sizeof(child_path), "%s/%s", path, dir->entries[i].name);
		struct inode *child = open_child(inode, dir->entries[i].name);
		compare_node(dir->entries[i].node, child, child_path);
		inode_put(child);
	}
}

static void compare_node(struct node *node, struct inode *inode, const char *path)
{
	char target[4200];
	if (inode->type != node->type || inode->links != node->links || inode->mode != node->mode)
		PANIC("%s: type %d, %u links, mode %o; not %d, %u, %o", path, inode->type,
		      inode->links, inode->mode, node->type, node->links, node->mode);
	if (node->type == INODE_FILE && inode->size != node->size)
		PANIC("%s: size %lu, not %lu", path, (unsigned long)inode->size,
		      (unsigned long)node->size);
	int64_t sec = model_short_times ? (int32_t)node->mtime_sec : node->mtime_sec;
	uint32_t nsec = model_short_times ? 0 : node->mtime_nsec;
	if (node->mtime_sec && (inode->mtime_sec != sec || inode->mtime_nsec != nsec))
		PANIC("%s: time %ld.%u", path, (long)inode->mtime_sec, inode->mtime_nsec);
	if (node->type == INODE_SYMLINK) {
		int len = volume_filesystem(bed_volume)->read_link(inode, target, sizeof(target));
		if (len < 0 || strcmp(target, node->target))
			PANIC("%s leads to %s (%d)", path, target, len);
	} else {
		compare_attributes(node, inode, path);
	}
	if (node->type == INODE_DIRECTORY)
		compare_dir(node, inode, path);
}

void model_compare(void)
{
	struct inode *root = volume_root_inode(bed_volume);
	compare_node(model_root, root, "");
	inode_put(root);
	for (struct node *node = model_nodes; node; node = node->next)
		if (node->open && !node->links && node->type != INODE_DIRECTORY)
			compare_node(node, node->open, "(removed)");
}

// ---- comparison with what debugfs finds ----

static void compare_host(const struct node *node, const char *path);

static void compare_host_dir(const struct node *dir, const char *path)
{
	unsigned seen = 0;
	DIR *host = opendir(path);
	ASSERT(host);
	for (struct dirent *e; (e = readdir(host));)
		seen += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
	closedir(host);
	if (seen != dir->count)
		PANIC("%s: rdump has %u names, not %u", path, seen, dir->count);
	for (unsigned i = 0; i < dir->count; i++) {
		char child[8192];
		snprintf(child, sizeof(child), "%s/%s", path, dir->entries[i].name);
		compare_host(dir->entries[i].node, child);
	}
}

static void compare_host(const struct node *node, const char *path)
{
	struct stat st;
	char target[4200];
	if (lstat(path, &st))
		PANIC("%s is not in the rdump", path);
	if (node->type == INODE_SYMLINK) {
		ssize_t len = readlink(path, target, sizeof(target) - 1);
		if (len != (ssize_t)strlen(node->target) ||
		    memcmp(target, node->target, (size_t)len))
			PANIC("%s: target in the rdump", path);
		return;
	}
	if (S_ISDIR(st.st_mode) != (node->type == INODE_DIRECTORY))
		PANIC("%s: type in the rdump", path);
	if ((st.st_mode & 0777) != (node->mode & 0777)) // debugfs' chown takes away the rest
		PANIC("%s: mode %o in the rdump", path, st.st_mode);
	if (node->type == INODE_FILE && (uint64_t)st.st_size != node->size)
		PANIC("%s: size %ld in the rdump", path, (long)st.st_size);
	if (node->type == INODE_DIRECTORY)
		compare_host_dir(node, path);
}

void model_compare_rdump(void)
{
	char top[] = "/tmp/pagewire-rdump-XXXXXX", command[100];
	ASSERT(mkdtemp(top));
	bed_debugfs("rdump / %s", top);
	compare_host_dir(model_root, top);
	snprintf(command, sizeof(command), "rm -rf %s", top);
	ASSERT(!system(command));
}
