// SPDX-License-Identifier: BSD-2-Clause
// A listing's text in pieces, as HTML or JSON: see dirlist.h. No scripts, no outside resources; each name
// is escaped for where it stands, and linked to by its exact bytes. Fast WTD context.
#include "server/dirlist.h"
#include "kernel/kstring.h"
#include "kernel/timer.h"

static const char style[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
    "<meta name=\"color-scheme\" content=\"light dark\">\n<style>\n"
    ":root{--fg:#1d2433;--dim:#5d6780;--bg:#fff;--line:#e3e7ef;--link:#0b57d0;--hover:#f2f5fb}\n"
    "@media(prefers-color-scheme:dark){:root{--fg:#e4e8f1;--dim:#98a2b8;--bg:#13161d;"
    "--line:#2a303d;--link:#8ab4ff;--hover:#1c212c}}\n"
    "body{margin:0 auto;max-width:60rem;padding:1rem;color:var(--fg);background:var(--bg);"
    "font:16px/1.5 system-ui,sans-serif}\n"
    "h1{font-size:1.2rem;font-weight:600;overflow-wrap:anywhere}\n"
    "a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}\n"
    "table{width:100%;border-collapse:collapse}\n"
    "th{text-align:left;font-weight:600;font-size:.85rem;border-bottom:2px solid var(--line)}\n"
    "th:first-child{width:99%}th,td{padding:.35rem .5rem}td{border-bottom:1px solid var(--line)}\n"
    "tr:hover td{background:var(--hover)}td:first-child{overflow-wrap:anywhere}\n"
    "td:first-child a{display:block}.d a{font-weight:600}\n"
    "th+th,td+td{text-align:right;white-space:nowrap;color:var(--dim);"
    "font-variant-numeric:tabular-nums}\n"
    "p{color:var(--dim);font-size:.85rem}\n"
    "@media(max-width:34rem){body{padding:.5rem}th:nth-child(3),td:nth-child(3){display:none}}\n"
    "</style>\n";

// Links to each directory above: "/ a / b". Relative, so that the page may stand behind any proxy.
static void breadcrumbs(const struct listing *l, struct text *t)
{
	unsigned depth = 0;

	for (uint16_t i = 0; i < l->path_len; i++)
		depth += l->path[i] == '/';
	depth += l->path_len > 0;
	text_str(t, "<a href=\"");
	for (unsigned i = 0; i < depth; i++)
		text_str(t, "../");
	text_str(t, depth ? "\">Home</a>" : "./\">Home</a>");
	for (uint16_t at = 0; at < l->path_len;) {
		const char *slash = memchr(l->path + at, '/', l->path_len - at);
		size_t n = slash ? (size_t)(slash - l->path) - at : (size_t)l->path_len - at;
		depth--;
		text_str(t, " / <a href=\"");
		text_str(t, depth ? "" : "./");
		for (unsigned i = 0; i < depth; i++)
			text_str(t, "../");
		text_str(t, "\">");
		text_html(t, l->path + at, n);
		text_str(t, "</a>");
		at += n + 1;
	}
}

static void column(const struct listing *l, struct text *t, enum listing_sort sort, const char *key,
		   const char *title)
{
	bool current = l->sort == sort, down = current && !l->descending;

	text_str(t, "<th");
	if (current)
		text_str(t,
			 l->descending ? " aria-sort=\"descending\"" : " aria-sort=\"ascending\"");
	text_str(t, "><a href=\"?sort=");
	text_str(t, key);
	text_str(t, down ? "&amp;order=desc\">" : "&amp;order=asc\">");
	text_str(t, title);
	if (current)
		text_str(t, l->descending ? " \xe2\x96\xbc" : " \xe2\x96\xb2");
	text_str(t, "</a></th>");
}

static void heading(const struct listing *l, struct text *t)
{
	size_t start = t->len;

	text_str(t, "<title>/");
	text_html(t, l->path, l->path_len);
	text_str(t, "</title></head><body><h1>");
	breadcrumbs(l, t);
	if (t->full && start == 0) { // a path of thousands of bytes: without it
		t->len = start;
		t->full = false;
		text_str(t, "<title>Index</title></head><body><h1><a href=\"../\">Parent</a>");
	}
	text_str(t, "</h1>\n<table><thead><tr>");
	column(l, t, LISTING_BY_NAME, "name", "Name");
	column(l, t, LISTING_BY_SIZE, "size", "Size");
	column(l, t, LISTING_BY_DATE, "date", "Modified");
	text_str(t, "</tr></thead><tbody>\n");
	if (l->path_len)
		text_str(
		    t, "<tr class=\"d\"><td><a href=\"../\">..</a></td><td></td><td></td></tr>\n");
}

// "17 B", "4.0 KB", "1.5 GB" (powers of 1024).
static void human_size(struct text *t, uint64_t size)
{
	static const char units[] = "KMGTPE";
	unsigned unit = 0;

	if (size < 1024) {
		text_u64(t, size);
		text_str(t, " B");
		return;
	}
	while (size >> 10 >= 1024 && unit < sizeof(units) - 2) {
		size >>= 10;
		unit++;
	}
	uint64_t tenths = (size * 10 + 512) >> 10;
	text_u64(t, tenths / 10);
	if (tenths < 100) {
		text_char(t, '.');
		text_u64(t, tenths % 10);
	}
	text_char(t, ' ');
	text_char(t, units[unit]);
	text_char(t, 'B');
}

static void date(struct text *t, int64_t seconds, char separator, bool to_the_second)
{
	struct civil_time c;

	civil_from_unix(MAX(-62135596800LL, MIN(seconds, 253402300799LL)), &c);
	text_digits(t, (unsigned)c.year, 4);
	text_char(t, '-');
	text_digits(t, c.month, 2);
	text_char(t, '-');
	text_digits(t, c.day, 2);
	text_char(t, separator);
	text_digits(t, c.hour, 2);
	text_char(t, ':');
	text_digits(t, c.minute, 2);
	if (to_the_second) {
		text_char(t, ':');
		text_digits(t, c.second, 2);
		text_char(t, 'Z');
	}
}

static void html_row(const struct listing_entry *entry, struct text *t)
{
	bool dir = entry->type == INODE_DIRECTORY;

	text_str(t, dir ? "<tr class=\"d\"><td><a href=\"" : "<tr><td><a href=\"");
	text_uri(t, entry->name, entry->len);
	text_str(t, dir ? "/\">" : "\">");
	text_html(t, entry->name, entry->len);
	text_str(t, dir ? "/</a></td><td>" : "</a></td><td");
	if (entry->type == INODE_FILE) {
		text_str(t, " title=\"");
		text_u64(t, entry->size);
		text_str(t, " bytes\">");
		human_size(t, entry->size);
	} else if (!dir) {
		text_char(t, '>');
	}
	text_str(t, "</td><td>");
	if (entry->type == INODE_FILE || dir)
		date(t, entry->mtime, ' ', false);
	text_str(t, "</td></tr>\n");
}

static void json_row(const struct listing *l, struct text *t)
{
	static const char *const types[] = {
	    [INODE_FILE] = "file",
	    [INODE_DIRECTORY] = "directory",
	    [INODE_SYMLINK] = "dangling",
	    [INODE_OTHER] = "other",
	};
	const struct listing_entry *entry = l->entries[l->place.next];

	text_str(t, l->place.next ? ",\n{\"name\":\"" : "\n{\"name\":\"");
	text_json(t, entry->name, entry->len);
	text_str(t, "\",\"href\":\"");
	text_uri(t, entry->name, entry->len);
	text_str(t, entry->type == INODE_DIRECTORY ? "/\",\"type\":\"" : "\",\"type\":\"");
	text_str(t, types[entry->type]);
	text_str(t, "\",\"size\":");
	text_u64(t, entry->size);
	text_str(t, ",\"modified\":\"");
	date(t, entry->mtime, 'T', true);
	text_str(t, utf8_valid(entry->name, entry->len) ? "\"}" : "\",\"utf8\":false}");
}

static void foot(const struct listing *l, struct text *t)
{
	text_str(t, "</tbody></table>\n<p>");
	text_u64(t, l->count);
	text_str(t, l->count == 1 ? " entry" : " entries");
	if (l->cut)
		text_str(t, ". The directory has more; these are the ones that were read");
	text_str(t, ". Times are UTC. Pagewire</p></body></html>\n");
}

void listing_html_part(const struct listing *l, struct text *t)
{
	switch (l->place.stage) {
	case LISTING_STYLE:
		text_str(t, style);
		break;
	case LISTING_HEADING:
		heading(l, t);
		break;
	case LISTING_ROWS:
		html_row(l->entries[l->place.next], t);
		break;
	default:
		foot(l, t);
	}
}

void listing_json_part(const struct listing *l, struct text *t)
{
	switch (l->place.stage) {
	case LISTING_STYLE:
		text_str(t, "{\"entries\":[");
		break;
	case LISTING_HEADING:
		break;
	case LISTING_ROWS:
		json_row(l, t);
		break;
	default:
		text_str(t, l->cut ? "\n],\"truncated\":true}\n" : "\n],\"truncated\":false}\n");
	}
}

static void advance(struct listing *l)
{
	if (l->place.stage == LISTING_ROWS && ++l->place.next < l->count)
		return;
	l->place.stage++;
	if (l->place.stage == LISTING_ROWS && l->count == 0)
		l->place.stage++;
}

#define FRAME 6 // "ffff\r\n"

void listing_piece(struct listing *l, struct text *t, bool chunked)
{
	struct text piece = {.out = t->out + (chunked ? FRAME : 0), .size = LISTING_PIECE};

	while (l->place.stage < LISTING_LAST) {
		size_t before = piece.len;
		if (l->json)
			listing_json_part(l, &piece);
		else
			listing_html_part(l, &piece);
		if (piece.full) {
			piece.len = before;
			break;
		}
		advance(l);
	}
	if (chunked) {
		struct text frame = {.out = t->out, .size = FRAME};
		for (int shift = 12; shift >= 0; shift -= 4)
			text_char(&frame, "0123456789abcdef"[piece.len >> shift & 15]);
		text_str(&frame, "\r\n");
		piece.out = t->out;
		piece.size = t->size;
		piece.len += FRAME;
		piece.full = false;
		text_str(&piece, "\r\n");
	}
	if (l->place.stage == LISTING_LAST) {
		if (chunked)
			text_str(&piece, "0\r\n\r\n");
		l->place.stage = LISTING_DONE;
	}
	t->len = piece.len;
}
