package topics

import "syscall"

// adviseHuge asks for huge pages for the part of b that consists of whole ones not in
// use yet. It is only advice: a refusal costs nothing but time.
func adviseHuge(b []byte) { _ = syscall.Madvise(b, syscall.MADV_HUGEPAGE) }
