package main

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"github.com/siflet/siflet/runtime/sif"
)

// What follows looks as siftool's: programs read it.

func writeHeader(w *safeWriter, f *sif.File) error {
	h, l := f.Header, f.Layout()
	tw := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	row := func(name string, value any) { _, _ = fmt.Fprintf(tw, "%s:\t%v\n", name, value) }
	if h.Launch != "" {
		row("Launch Script", printable(h.Launch))
	}
	row("Version", h.Version)
	if h.Arch != "unknown" {
		row("Primary Architecture", h.Arch)
	}
	if h.ID != [16]byte{} {
		row("ID", fmt.Sprintf("%x-%x-%x-%x-%x", h.ID[:4], h.ID[4:6], h.ID[6:8], h.ID[8:10], h.ID[10:]))
	}
	if !h.Created.IsZero() {
		row("Created At", h.Created.UTC())
	}
	if !h.Modified.IsZero() {
		row("Modified At", h.Modified.UTC())
	}
	row("Descriptors Free", l.Free)
	row("Descriptors Total", l.Slots)
	row("Descriptors Offset", l.TableOffset)
	row("Descriptors Size", roundSize(l.TableSize))
	row("Data Offset", l.DataOffset)
	row("Data Size", roundSize(l.DataSize))
	return tw.Flush()
}

// roundSize is a size without a fraction: 27 KiB.
func roundSize(n int64) string {
	const k = 1024
	if n < k {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/k, 0
	for whole := n / k; whole >= k; whole /= k {
		value, unit = value/k, unit+1
	}
	return fmt.Sprintf("%.0f %ciB", math.Round(value), "KMGTPE"[unit])
}

func writeObjects(w *safeWriter, f *sif.File) error {
	const line = "------------------------------------------------------------------------------\n"
	w.printf("%s%-4s %-8s %-8s %-26s %s\n%s", line, "ID", "|GROUP", "|LINK", "|SIF POSITION (start-end)", "|TYPE", line)
	for _, d := range f.Descriptors {
		details, err := f.Details(d)
		if err != nil {
			return err
		}
		group, link := "NONE", "NONE"
		if d.Group != 0 {
			group = id(d.Group)
		}
		switch {
		case d.Link != 0 && d.LinkIsGroup:
			link = fmt.Sprintf("%-3d (G)", d.Link)
		case d.Link != 0:
			link = id(d.Link)
		}
		position := fmt.Sprintf("|%d-%d ", d.Offset, d.Offset+d.Size)
		w.printf("%-4d |%-7s |%-7s %-26s |%s\n", d.ID, group, link, position, typeOf(d, details))
	}
	return w.err
}

func typeOf(d sif.Descriptor, details sif.Details) string {
	switch d.Type {
	case sif.TypePartition:
		return fmt.Sprintf("%s (%s/%s/%s)", d.Type, fsName(d.FS), partName(d.Part), d.Arch)
	case sif.TypeSignature:
		return fmt.Sprintf("%s (%s)", d.Type, details.Hash)
	case sif.TypeCrypto:
		return fmt.Sprintf("%s (%s/%s)", d.Type, details.Format, details.Message)
	case sif.TypeSBOM:
		return fmt.Sprintf("%s (%s)", d.Type, details.SBOM)
	default:
		return d.Type.String()
	}
}

func fsName(t sif.FSType) string {
	names := map[sif.FSType]string{
		sif.FSSquash: "Squashfs", sif.FSExt3: "Ext3", sif.FSArchive: "Archive", sif.FSRaw: "Raw", sif.FSEncryptedSquash: "Encrypted squashfs",
	}
	return names[t]
}

func partName(t sif.PartType) string {
	names := map[sif.PartType]string{
		sif.PartSystem: "System", sif.PartPrimary: "*System", sif.PartData: "Data", sif.PartOverlay: "Overlay",
	}
	return names[t]
}

func writeDescriptor(w *safeWriter, f *sif.File, d sif.Descriptor) error {
	details, err := f.Details(d)
	if err != nil {
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) //nolint:mnd // as siftool
	row := func(name string, value any) { _, _ = fmt.Fprintf(tw, "\t%s:\t%v\n", name, value) }
	row("Data Type", d.Type)
	row("ID", d.ID)
	group, link := "NONE", "NONE"
	if d.Group != 0 {
		group = id(d.Group)
	}
	if d.Link != 0 {
		link = id(d.Link)
	}
	if d.Link != 0 && d.LinkIsGroup {
		link += " (G)"
	}
	row("Group ID", group)
	row("Linked ID", link)
	row("Offset", d.Offset)
	row("Size", d.Size)
	if !details.Created.IsZero() {
		row("Created At", details.Created.UTC())
	}
	if !d.Modified.IsZero() {
		row("Modified At", d.Modified.UTC())
	}
	if d.Name != "" {
		row("Name", d.Name)
	}
	switch d.Type {
	case sif.TypePartition:
		row("Filesystem Type", fsName(d.FS))
		row("Partition Type", partName(d.Part))
		row("Architecture", d.Arch)
	case sif.TypeSignature:
		row("Hash Type", details.Hash)
		if details.Entity != nil {
			row("Entity", fmt.Sprintf("%X", details.Entity))
		}
	case sif.TypeCrypto:
		row("Format Type", details.Format)
		row("Message Type", details.Message)
	case sif.TypeSBOM:
		row("Format", details.SBOM)
	case sif.TypeOCIIndex, sif.TypeOCIBlob:
		row("Digest", d.Digest)
	default:
	}
	return tw.Flush()
}

// dump writes an object as it is; on a terminal, if it is text, without what that obeys.
func dump(w *safeWriter, f *sif.File, d sif.Descriptor) error {
	if !w.clean {
		_, err := io.Copy(w.w, f.Section(d))
		return err
	}
	switch d.Type {
	case sif.TypeDefinition, sif.TypeEnvironment, sif.TypeLabels, sif.TypeJSON, sif.TypeSignature, sif.TypeCrypto, sif.TypeSBOM, sif.TypeOCIIndex:
	default:
		return fmt.Errorf("object %d (%s) is not for a terminal; write it to a file: siflet sif dump %d ... > FILE", d.ID, d.Type, d.ID)
	}
	text, err := f.Read(d)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}
