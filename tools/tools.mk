# SPDX-License-Identifier: BSD-2-Clause
# The commands people type. Each makes sure of its packages first, so that a fresh clone needs nothing else.
.PHONY: run debug test iso help clean format

help:
	@echo "make                 build/pagewire.elf and build/pagewire.iso"
	@echo "make run             boot in QEMU and serve a directory: DIR=path PORT=8080 MEM=512"
	@echo "make run WRITE=1     the same, writable by a user whose password is printed (changes go with QEMU)"
	@echo "make run PROGRAMS=... the same, with static executables in /bin of the volume (LOAD name)"
	@echo "make test            all tests (host, guest, end to end); last line: N passed, N failed"
	@echo "make test ONLY=host  one part: $(shell tools/test --parts)"
	@echo "make bench           side by side with Linux + nginx (root, for a network namespace)"
	@echo "make soak            a million connections, ten million requests, floods (root; half an hour)"
	@echo "make uploads         uploads beside Linux with nginx and with Apache (root; a quarter of an hour)"
	@echo "make recv-latency    from a frame's arrival to a program's recv, beside Linux (root; two minutes)"
	@echo "make debug           QEMU stopped at entry, gdb with symbols and the pw-* commands"
	@echo "make iso             build/pagewire.iso alone"
	@echo "make asm             build/pagewire.asm, the disassembly with source"
	@echo "make format          clang-format over the tree"
	@echo "make clean           remove build/"

iso: $(B)/pagewire.iso

# Hashes a password as the kernel does, for the users file that WRITE=1 makes.
$(B)/tools/password: tools/password.c server/password.c server/password.h $(CRYPTO_HOST_LIB)
	@mkdir -p $(@D)
	$(HOST_CC) -std=gnu11 -O2 -Wall -Wextra -Werror -Wno-unused-parameter -DPAGEWIRE_HOST -DPAGEWIRE_HOST_PROGRAM \
		-Iinclude -I. $(CRYPTO_CFLAGS) -o $@ tools/password.c server/password.c $(CRYPTO_HOST_LIB)

# Unless the caller said how many.
EVERY_PROCESSOR = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))
run:
	@tools/deps build run
	@$(MAKE) --no-print-directory $(EVERY_PROCESSOR) all $(if $(WRITE),$(B)/tools/password)
	@tools/run

debug:
	@tools/deps build run
	@$(MAKE) --no-print-directory $(EVERY_PROCESSOR) all
	@tools/debug

test:
	@tools/deps test
	@tools/test $(ONLY)

format:
	clang-format -i $(wildcard include/*/*.h */*.[ch] net/lwip/*.[ch] net/lwip/*/*.[ch] tests/*/*.[ch])

clean:
	rm -rf $(B)

include tests/fuzz/fuzz.mk
include tests/programs/programs.mk
include tests/programs/redis.mk
