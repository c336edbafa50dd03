package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// table writes rows as Singularity lays them out: columns four spaces apart.
func table(w io.Writer, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 8, 4, ' ', 0)
	for _, row := range rows {
		// Strangers name images and pods.
		row = slices.Clone(row)
		for i := range row {
			row[i] = printable(row[i])
		}
		if _, err := fmt.Fprintln(tw, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// bytesIEC writes a size as docker stats does: 9.711MiB.
func bytesIEC(n uint64) string {
	return scaled(float64(n), 1024, []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"})
}

// bytesSI writes a size in powers of ten: 4.1kB.
func bytesSI(n uint64) string {
	return scaled(float64(n), 1000, []string{"B", "kB", "MB", "GB", "TB", "PB"})
}

func scaled(value, base float64, units []string) string {
	i := 0
	for value >= base && i < len(units)-1 {
		value /= base
		i++
	}
	return fmt.Sprintf("%.4g%s", value, units[i])
}

// totalMemory is the machine's, in bytes; zero when the kernel does not say.
func totalMemory() uint64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	var kib uint64
	if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kib); err != nil {
		return 0
	}
	return kib << 10
}
