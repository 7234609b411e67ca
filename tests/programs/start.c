// SPDX-License-Identifier: BSD-2-Clause
// How a program begins: arguments, environment, auxiliary vector, constructors, thread-local storage, relocation. Says
// where it lies, so that two runs can be compared. Built in every static way that there is.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

static int constructed;
static __thread int local = 42;
static const char *const relocated[] = {"a", "b"};

__attribute__((constructor)) static void construct(void)
{
	constructed = 1;
}

static void *in_thread(void *arg)
{
	local += (int)(long)arg;
	return (void *)(long)local;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	void *result = NULL, *heap = malloc(100000);
	const unsigned char *random = (const unsigned char *)getauxval(AT_RANDOM);

	if (argc != 3 || strcmp(argv[2], "word") || !getenv("PATH"))
		return 1;
	if (!constructed || relocated[1][0] != 'b' || !random || getauxval(AT_PAGESZ) != 4096)
		return 2;
	if (pthread_create(&thread, NULL, in_thread, (void *)8L) || pthread_join(thread, &result))
		return 3;
	if ((long)result != 50 || local != 42)
		return 4;
	printf("%s main %p heap %p stack %p random %02x%02x%02x%02x\n", argv[1], (void *)main, heap,
	       (void *)&thread, random[0], random[1], random[2], random[3]);
	return 0;
}
