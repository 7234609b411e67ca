// SPDX-License-Identifier: BSD-2-Clause
// Content-Type by file name: see http_mime.h. The table is text (http_mime_table.c); http_mime_init
// walks it once, when a type is first asked for, and hangs each extension into an open hash.
#include "server/http_mime.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/panic.h"

// 1,091 extensions in 2,048 slots: a chain of two on average. http_mime_init panics before it is full.
#define SLOTS	2048
#define EXT_MAX 15

struct slot {
	const char *ext; // in the table's text; null: free
	uint32_t type;
	uint8_t len;
};
static struct slot slots[SLOTS]; // constant once it is filled
static bool filled;

// A type's number: group in the high byte, offset of the subtype in the group's text below.
#define TYPE(group, offset) ((uint32_t)((group) + 1) << 24 | (uint32_t)(offset))
#define TYPE_GROUP(type)    (((type) >> 24) - 1)
#define TYPE_OFFSET(type)   ((type)&0xffffff)

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static struct slot *slot_of(const char *ext, size_t len)
{
	uint32_t hash = 2166136261u; // FNV-1a

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (uint8_t)lower(ext[i])) * 16777619u;
	uint32_t i = hash % SLOTS;
	while (slots[i].ext && (slots[i].len != len || kstrncasecmp(slots[i].ext, ext, len) != 0))
		i = (i + 1) % SLOTS;
	return &slots[i];
}

static unsigned index_group(unsigned group, const char *list)
{
	unsigned count = 0;

	for (const char *at = list; *at;) {
		uint32_t type = TYPE(group, at - list);
		while (*at != ' ')
			at++;
		while (*at == ' ') {
			const char *ext = ++at;
			while (*at != ' ' && *at != ';')
				at++;
			struct slot *slot = slot_of(ext, (size_t)(at - ext));
			ASSERT(!slot->ext && at - ext <= EXT_MAX);
			*slot = (struct slot){ext, type, (uint8_t)(at - ext)};
			count++;
		}
		at++;
	}
	return count;
}

unsigned http_mime_init(void)
{
	unsigned count = 0;

	memset(slots, 0, sizeof(slots));
	for (unsigned g = 0; http_mime_groups[g].top; g++)
		count += index_group(g, http_mime_groups[g].list);
	ASSERT(count < SLOTS * 3 / 4);
	filled = true;
	return count;
}

// Files that are text by long custom and carry no extension.
static bool text_by_name(const char *name, size_t len)
{
	static const char *const names[] = {"README",
					    "LICENSE",
					    "LICENCE",
					    "COPYING",
					    "NOTICE",
					    "AUTHORS",
					    "THANKS",
					    "NEWS",
					    "TO"
					    "DO",
					    "INSTALL",
					    "HISTORY",
					    "CHANGELOG",
					    "CHANGES",
					    "BUGS",
					    "CREDITS",
					    "FAQ",
					    "VERSION",
					    "HACKING",
					    "Makefile",
					    "Dockerfile",
					    "copyright"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strlen(names[i]) == len && kstrncasecmp(names[i], name, len) == 0)
			return true;
	return false;
}

uint32_t http_mime_find(const char *name, size_t len)
{
	size_t dot = len;

	if (UNLIKELY(!filled)) {
		wtd_disable();
		if (!filled)
			http_mime_init();
		wtd_enable();
	}
	while (dot > 0 && name[dot - 1] != '.')
		dot--;
	if (dot == 0)
		return text_by_name(name, len) ? slot_of("txt", 3)->type : 0;
	if (len - dot == 0 || len - dot > EXT_MAX)
		return 0;
	const struct slot *slot = slot_of(name + dot, len - dot);
	return slot->ext ? slot->type : 0;
}

size_t http_mime_text(uint32_t type, char out[HTTP_MIME_TEXT_MAX])
{
	const char *top = "application/", *sub = "octet-stream ";
	size_t n = 0;

	if (type) {
		top = http_mime_groups[TYPE_GROUP(type)].top;
		sub = http_mime_groups[TYPE_GROUP(type)].list + TYPE_OFFSET(type);
	}
	while (*top)
		out[n++] = *top++;
	bool text = out[0] == 't';
	while (*sub != ' ' && n < HTTP_MIME_TEXT_MAX - sizeof("; charset=utf-8"))
		out[n++] = *sub++;
	if (text) {
		memcpy(out + n, "; charset=utf-8", 15);
		n += 15;
	}
	out[n] = 0;
	return n;
}
