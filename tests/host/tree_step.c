// SPDX-License-Identifier: BSD-2-Clause
// See tree_model.h: steps, what they must answer, taking them.
#include "tree_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/name.h"
#include "fs/volume_private.h"
#include "kernel/panic.h"

const char *step_text(const struct step *s)
{
	static const char *const kinds[] = {"create", "link",	  "mkdir",	"symlink", "remove",
					    "rename", "truncate", "attributes", "xattr"};
	static char text[1024];
	snprintf(text, sizeof(text), "%s %.300s -> %.300s mode %u size %lu", kinds[s->kind],
		 s->name ?: "-", s->name2 ?: "-", s->mode, (unsigned long)s->size);
	return text;
}

// ---- what it must answer ----

static bool is_under(const struct node *dir, const struct node *above)
{
	while (dir != above && dir != model_root)
		dir = dir->parent;
	return dir == above;
}

static int expect_dir(const struct node *dir)
{
	if (dir->type != INODE_DIRECTORY)
		return -ENOTDIR;
	return dir->links ? 0 : -ENOENT;
}

static int expect_rename(const struct step *s)
{
	struct node *from = model_find(s->dir, s->name), *to = model_find(s->dir2, s->name2);
	if (!from)
		return -ENOENT;
	if (from == to)
		return 0;
	if (from->type == INODE_DIRECTORY && is_under(s->dir2, from))
		return -EINVAL;
	if (!to)
		return 0;
	if (!(s->mode & NAME_REPLACE))
		return -EEXIST;
	if (to->type != INODE_DIRECTORY)
		return from->type == INODE_DIRECTORY ? -ENOTDIR : 0;
	if (from->type != INODE_DIRECTORY)
		return -EISDIR;
	return to->count ? -ENOTEMPTY : 0;
}

static int expect_link(const struct step *s)
{
	struct node *there = model_find(s->dir, s->name);
	if (s->kind == STEP_LINK && s->node->type == INODE_DIRECTORY)
		return -EPERM;
	if (!there)
		return 0;
	if (!(s->mode & NAME_REPLACE))
		return -EEXIST;
	return there->type == INODE_DIRECTORY ? -EISDIR : 0;
}

static int expect_xattr(const struct step *s)
{
	const struct attribute *a = s->node->attributes;
	while (a && strcmp(a->name, s->name))
		a = a->next;
	return !s->value && !a ? -ENODATA : 0;
}

int step_expect(const struct step *s)
{
	int error = s->dir ? expect_dir(s->dir) : 0;
	if (!error && s->dir2)
		error = expect_dir(s->dir2);
	if (error)
		return error;
	switch (s->kind) {
	case STEP_CREATE:
	case STEP_LINK:
		return expect_link(s);
	case STEP_MKDIR:
	case STEP_SYMLINK:
		return model_find(s->dir, s->name) ? -EEXIST : 0;
	case STEP_REMOVE: {
		struct node *there = model_find(s->dir, s->name);
		if (!there)
			return -ENOENT;
		return there->count ? -ENOTEMPTY : 0;
	}
	case STEP_RENAME:
		return expect_rename(s);
	case STEP_XATTR:
		return expect_xattr(s);
	default:
		return 0;
	}
}

// ---- on the volume ----

static int real_create(const struct step *s, struct inode *dir)
{
	struct inode *file;
	int error = file_create(dir, 0644, &file);
	if (error)
		return error;
	error = file_link(dir, s->name, strlen(s->name), file, s->mode);
	inode_put(file);
	return error;
}

static int real_make(const struct step *s, struct inode *dir)
{
	struct inode *made;
	int error =
	    s->kind == STEP_MKDIR
		? dir_create(dir, s->name, strlen(s->name), (uint16_t)s->mode, &made)
		: symlink_create(dir, s->name, strlen(s->name), s->value, strlen(s->value), &made);
	if (!error)
		inode_put(made);
	return error;
}

static int real_node(const struct step *s, struct inode *dir)
{
	struct inode *inode = model_inode(s->node);
	ASSERT(inode);
	int error = 0;
	if (s->kind == STEP_LINK)
		error = file_link(dir, s->name, strlen(s->name), inode, s->mode);
	else if (s->kind == STEP_TRUNCATE)
		error = file_truncate(inode, s->size);
	else if (s->kind == STEP_ATTRIBUTES)
		error = inode_set_attributes(inode, INODE_SET_MODE | INODE_SET_MTIME,
					     (uint16_t)s->mode, (int64_t)s->size, 123456789);
	else
		error = xattr_set(inode, s->name, s->value, s->size);
	inode_put(inode);
	return error;
}

int step_real(const struct step *s)
{
	struct inode *dir = s->dir ? model_inode(s->dir) : NULL, *dir2;
	int error;
	switch (s->kind) {
	case STEP_CREATE:
		error = real_create(s, dir);
		break;
	case STEP_MKDIR:
	case STEP_SYMLINK:
		error = real_make(s, dir);
		break;
	case STEP_REMOVE:
		error = name_remove(dir, s->name, strlen(s->name));
		break;
	case STEP_RENAME:
		dir2 = model_inode(s->dir2);
		error = name_rename(dir, s->name, strlen(s->name), dir2, s->name2, strlen(s->name2),
				    s->mode);
		inode_put(dir2);
		break;
	default:
		error = real_node(s, dir);
	}
	if (dir)
		inode_put(dir);
	return error;
}

// ---- on the model ----

static struct node *new_node(enum inode_type type, uint16_t mode)
{
	struct node *node = calloc(1, sizeof(*node));
	node->type = type;
	node->mode = mode;
	node->next = model_nodes->next; // the root stays first
	model_nodes->next = node;
	return node;
}

static void unlink_entry(struct node *dir, const char *name)
{
	unsigned i = 0;
	while (strcmp(dir->entries[i].name, name))
		i++;
	struct node *node = dir->entries[i].node;
	dir->entries[i] = dir->entries[--dir->count];
	dir->mtime_sec = 0;
	if (node->type == INODE_DIRECTORY)
		dir->links--;
	node->links = node->type == INODE_DIRECTORY ? 0 : node->links - 1;
}

static void link_entry(struct node *dir, const char *name, struct node *node)
{
	if (model_find(dir, name))
		unlink_entry(dir, name);
	dir->entries = realloc(dir->entries, (dir->count + 1) * sizeof(*dir->entries));
	strcpy(dir->entries[dir->count].name, name);
	dir->entries[dir->count++].node = node;
	dir->mtime_sec = 0;
	if (node->type == INODE_DIRECTORY) {
		dir->links++;
		node->parent = dir;
		node->links = node->links ?: 2;
	} else {
		node->links++;
	}
}

static void model_rename(const struct step *s)
{
	struct node *node = model_find(s->dir, s->name);
	if (node == model_find(s->dir2, s->name2))
		return;
	unsigned links = node->links;
	unlink_entry(s->dir, s->name);
	node->links = node->type == INODE_DIRECTORY ? links : node->links;
	link_entry(s->dir2, s->name2, node);
}

static void model_xattr(const struct step *s)
{
	struct attribute **link = &s->node->attributes;
	while (*link && strcmp((*link)->name, s->name))
		link = &(*link)->next;
	struct attribute *a = *link;
	if (a)
		free(a->value);
	if (!s->value) {
		*link = a->next;
		free(a);
		return;
	}
	if (!a)
		a = *link = calloc(1, sizeof(*a));
	strcpy(a->name, s->name);
	a->size = s->size;
	a->value = malloc(s->size + 1);
	memcpy(a->value, s->value, s->size);
}

void step_model(const struct step *s)
{
	struct node *node;
	switch (s->kind) {
	case STEP_CREATE:
		link_entry(s->dir, s->name, new_node(INODE_FILE, 0644));
		break;
	case STEP_LINK:
		if (model_find(s->dir, s->name) != s->node)
			link_entry(s->dir, s->name, s->node);
		break;
	case STEP_MKDIR:
		link_entry(s->dir, s->name, new_node(INODE_DIRECTORY, (uint16_t)s->mode));
		break;
	case STEP_SYMLINK:
		node = new_node(INODE_SYMLINK, 0777);
		node->target = strdup(s->value);
		link_entry(s->dir, s->name, node);
		break;
	case STEP_REMOVE:
		unlink_entry(s->dir, s->name);
		break;
	case STEP_RENAME:
		model_rename(s);
		break;
	case STEP_TRUNCATE:
		s->node->size = s->size;
		s->node->mtime_sec = 0;
		break;
	case STEP_ATTRIBUTES:
		s->node->mode = (uint16_t)s->mode;
		s->node->mtime_sec = (int64_t)s->size;
		s->node->mtime_nsec = 123456789;
		break;
	default:
		model_xattr(s);
	}
}

void step_take(const struct step *s)
{
	int expected = step_expect(s), got = step_real(s);
	// How much an inode and a block hold is the format's business.
	if (s->kind == STEP_XATTR && got == -ENOSPC && s->value)
		return;
	if (got != expected)
		PANIC("%s: %d, not %d", step_text(s), got, expected);
	if (!got)
		step_model(s);
}
