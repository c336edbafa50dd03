package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// table writes rows as Singularity lays them out: columns four spaces apart.
func table(w io.Writer, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 8, 4, ' ', 0)
	for _, row := range rows {
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
