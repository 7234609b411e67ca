// SPDX-License-Identifier: BSD-2-Clause
// Memory and string functions for kernel structures; see include/kernel/kstring.h. The C library's
// names are left out on the host, which has its own; a host test that wants to try ours compiles this
// file with the names renamed (-DSTRING_UNDER_TEST).
//
// The block functions are string instructions, eight bytes a step: short in code, and GCC cannot
// turn them back into a call to themselves.
#include "kernel/kstring.h"
#include "kernel/base.h"

#ifdef STRING_UNDER_TEST
#define memcpy	tested_memcpy
#define memmove tested_memmove
#define memset	tested_memset
#define memcmp	tested_memcmp
#define memchr	tested_memchr
#define strlen	tested_strlen
#define strnlen tested_strnlen
#define strcmp	tested_strcmp
#define strncmp tested_strncmp
#define strchr	tested_strchr
#define strrchr tested_strrchr
#define strstr	tested_strstr
#endif

#if !defined(PAGEWIRE_HOST) || defined(STRING_UNDER_TEST)
void *memcpy(void *restrict to, const void *restrict from, size_t len)
{
	void *d = to;
	size_t words = len / 8, bytes = len % 8;

	__asm__ volatile("rep movsq" : "+D"(d), "+S"(from), "+c"(words)::"memory");
	__asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(bytes)::"memory");
	return to;
}

void *memmove(void *to, const void *from, size_t len)
{
	if ((uintptr_t)to - (uintptr_t)from >= len)
		return memcpy(to, from, len);
	// The destination starts inside the source: backwards, the odd bytes at the end first.
	uint8_t *d = (uint8_t *)to + len - 1;
	const uint8_t *s = (const uint8_t *)from + len - 1;
	size_t words = len / 8, bytes = len % 8;

	__asm__ volatile(
	    "std; rep movsb; sub $7, %%rdi; sub $7, %%rsi; mov %3, %%rcx; rep movsq; cld"
	    : "+D"(d), "+S"(s), "+c"(bytes)
	    : "r"(words)
	    : "memory", "cc");
	return to;
}

void *memset(void *to, int byte, size_t len)
{
	void *d = to;
	size_t words = len / 8, bytes = len % 8;
	uint64_t pattern = (uint8_t)byte * 0x0101010101010101UL;

	__asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(pattern) : "memory");
	__asm__ volatile("rep stosb" : "+D"(d), "+c"(bytes) : "a"(pattern) : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t len)
{
	const uint8_t *x = a, *y = b;

	for (; len; x++, y++, len--)
		if (*x != *y)
			return *x - *y;
	return 0;
}

void *memchr(const void *s, int c, size_t len)
{
	for (const uint8_t *p = s; len; p++, len--)
		if (*p == (uint8_t)c)
			return (void *)p;
	return NULL;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

size_t strnlen(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	return (uint8_t)*a - (uint8_t)*b;
}

int strncmp(const char *a, const char *b, size_t max)
{
	for (; max; a++, b++, max--)
		if (*a != *b || !*a)
			return (uint8_t)*a - (uint8_t)*b;
	return 0;
}

char *strchr(const char *s, int c)
{
	for (;; s++) {
		if (*s == (char)c)
			return (char *)s;
		if (!*s)
			return NULL;
	}
}

char *strrchr(const char *s, int c)
{
	const char *last = NULL;

	for (;; s++) {
		if (*s == (char)c)
			last = s;
		if (!*s)
			return (char *)last;
	}
}

char *strstr(const char *s, const char *sub)
{
	size_t n = strlen(sub);

	for (; *s || !n; s++)
		if (!strncmp(s, sub, n))
			return (char *)s;
	return NULL;
}
#endif

size_t kstrlcpy(char *to, const char *from, size_t size)
{
	size_t len = strlen(from);

	if (size) {
		size_t n = MIN(len, size - 1);

		memcpy(to, from, n);
		to[n] = 0;
	}
	return len;
}

static int fold(char c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : (uint8_t)c;
}

int kstrncasecmp(const char *a, const char *b, size_t max)
{
	for (; max; a++, b++, max--)
		if (fold(*a) != fold(*b) || !*a)
			return fold(*a) - fold(*b);
	return 0;
}

int kstrcasecmp(const char *a, const char *b)
{
	return kstrncasecmp(a, b, SIZE_MAX);
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)fold(c);
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return 99;
}

bool kparse_u64(const char *text, size_t len, uint64_t *value)
{
	unsigned base = 10;
	uint64_t n = 0;

	if (len > 2 && text[0] == '0' && fold(text[1]) == 'x') {
		base = 16;
		text += 2;
		len -= 2;
	}
	if (!len)
		return false;
	for (; len; text++, len--) {
		unsigned digit = (unsigned)digit_of(*text);

		if (digit >= base || __builtin_mul_overflow(n, base, &n) ||
		    __builtin_add_overflow(n, digit, &n))
			return false;
	}
	*value = n;
	return true;
}
