# SPDX-License-Identifier: BSD-2-Clause
# make fuzz-ext4          mutated ext4 metadata for FUZZ_SECONDS, corpus kept in build/fuzz/corpus-ext4
# make fuzz-ext4-short    a bounded run (fuzz.mk)
FUZZ_EXT4_SOURCES := tests/fuzz/fuzz_ext4.c tests/host/image_meta.c tests/host/ext4_tree.c $(wildcard tests/host/shim*.c) \
                     $(wildcard fs/ext4_*.c fs/journal*.c) kernel/crc32.c
build/fuzz/ext4: $(FUZZ_EXT4_SOURCES) $(wildcard fs/*.h include/*/*.h tests/host/*.h)
	@mkdir -p build/fuzz/corpus-ext4
	$(FUZZ_CC) $(FUZZ_FLAGS) -Itests/host -o $@ $(FUZZ_EXT4_SOURCES)

FUZZ_EXT4_RUN = build/fuzz/ext4 -max_len=321 -timeout=120 -print_final_stats=1 -artifact_prefix=build/fuzz/

.PHONY: fuzz-ext4 fuzz-ext4-short
fuzz-ext4: build/fuzz/ext4
	$(FUZZ_EXT4_RUN) -max_total_time=$(FUZZ_SECONDS) build/fuzz/corpus-ext4
fuzz-ext4-short: build/fuzz/ext4
	$(FUZZ_EXT4_RUN) $(FUZZ_SHORT) -runs=12000
