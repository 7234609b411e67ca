// SPDX-License-Identifier: BSD-2-Clause
// The Range field: see http_range.h.
#include "server/http_range.h"
#include "server/http_parse.h"
#include "kernel/kstring.h"

// 1*DIGIT at *at; a number too large for us is as good as the largest. False: no digit.
static bool digits(const char *text, size_t len, size_t *at, uint64_t *out)
{
	size_t i = *at;
	uint64_t n = 0;

	for (; i < len && text[i] >= '0' && text[i] <= '9'; i++)
		n = n > (UINT64_MAX - 9) / 10 ? UINT64_MAX : n * 10 + (uint64_t)(text[i] - '0');
	bool any = i > *at;
	*at = i;
	*out = n;
	return any;
}

// One range-spec. False: malformed. *fits: it takes at least one byte of the file.
static bool spec(const char *text, size_t len, uint64_t size, struct http_range *out, bool *fits)
{
	size_t at = 0;
	bool has_first = digits(text, len, &at, &out->first);

	if (at == len || text[at++] != '-')
		return false;
	bool has_last = digits(text, len, &at, &out->last);
	if (at != len || (!has_first && !has_last))
		return false;
	if (!has_first) { // the last so many bytes; of an empty file that is all of it, not a range
		uint64_t suffix = MIN(out->last, size);
		if (size == 0 && out->last > 0)
			return false;
		*fits = suffix > 0;
		out->first = size - suffix;
		out->last = size - 1;
		return true;
	}
	if (has_last && out->last < out->first)
		return false;
	*fits = out->first < size;
	if (!has_last || out->last >= size)
		out->last = size - 1;
	return true;
}

static bool joins(const struct http_range *a, const struct http_range *b)
{
	uint64_t gap_from = MIN(a->last, b->last), gap_to = MAX(a->first, b->first);

	return gap_to <= gap_from || gap_to - gap_from - 1 < HTTP_RANGE_GAP;
}

// Adds r, swallowing every earlier range it joins; the result stands where the first of them stood.
static unsigned add(struct http_range *list, unsigned count, struct http_range r)
{
	unsigned place = count;

	for (bool again = true; again;) {
		again = false;
		for (unsigned i = 0; i < count; i++) {
			if (i == place || !joins(&list[i], &r))
				continue;
			r.first = MIN(r.first, list[i].first);
			r.last = MAX(r.last, list[i].last);
			if (place < count) { // two earlier ones grew together: close the hole
				unsigned gone = MAX(i, place);
				place = MIN(i, place);
				memmove(&list[gone], &list[gone + 1],
					(count - gone - 1) * sizeof(*list));
				count--;
			} else {
				place = i;
			}
			list[place] = r;
			again = true;
			break;
		}
	}
	list[place] = r;
	return place == count ? count + 1 : count;
}

enum http_range_result http_range_parse(const char *text, size_t len, uint64_t size,
					struct http_range out[HTTP_RANGES_MAX], unsigned *count)
{
	static const char unit[] = "bytes=";
	const size_t unit_len = sizeof(unit) - 1;
	const char *item;
	size_t at = unit_len, n;
	unsigned specs = 0;

	*count = 0;
	if (len < unit_len || kstrncasecmp(text, unit, unit_len) != 0)
		return HTTP_RANGE_NONE;
	while (http_list_next(text, len, &at, &item, &n)) {
		struct http_range r;
		bool fits;
		if (++specs > HTTP_RANGES_MAX || !spec(item, n, size, &r, &fits))
			return HTTP_RANGE_NONE;
		if (fits)
			*count = add(out, *count, r);
	}
	if (specs == 0)
		return HTTP_RANGE_NONE;
	return *count ? HTTP_RANGE_SOME : HTTP_RANGE_UNSATISFIABLE;
}

static bool begins(const char *text, size_t len, const char *lower, size_t *at)
{
	*at = strlen(lower);
	return len >= *at && kstrncasecmp(text, lower, *at) == 0;
}

bool http_content_range_parse(const char *text, size_t len, struct http_place *out)
{
	uint64_t last, total = UINT64_MAX;
	size_t at;

	if (!begins(text, len, "bytes ", &at) || !digits(text, len, &at, &out->first) ||
	    at == len || text[at++] != '-' || !digits(text, len, &at, &last) || at == len ||
	    text[at++] != '/')
		return false;
	if (at < len && text[at] == '*')
		at++;
	else if (!digits(text, len, &at, &total))
		return false;
	out->length = last - out->first + 1;
	return at == len && out->first <= last && last < MIN(total, (uint64_t)INT64_MAX);
}

bool http_update_range_parse(const char *text, size_t len, uint64_t size, struct http_place *out)
{
	size_t at;
	uint64_t n;

	*out = (struct http_place){size, UINT64_MAX};
	if (begins(text, len, "append", &at))
		return at == len;
	if (!begins(text, len, "bytes=", &at))
		return false;
	if (at < len && text[at] == '-') {
		at++;
		if (!digits(text, len, &at, &n) || at != len || n > size)
			return false;
		out->first = size - n;
		return true;
	}
	if (!digits(text, len, &at, &out->first) || out->first > INT64_MAX || at == len ||
	    text[at++] != '-')
		return false;
	if (at == len)
		return true;
	if (!digits(text, len, &at, &n) || at != len || n < out->first || n > INT64_MAX)
		return false;
	out->length = n - out->first + 1;
	return true;
}
