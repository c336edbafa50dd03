package contract

import (
	"encoding/json"
	"fmt"
	"time"
)

// Labels that Singularity gives what it builds.
const (
	labelSchema  = "org.label-schema.schema-version"
	labelArch    = "org.label-schema.build-arch"
	labelDate    = "org.label-schema.build-date"
	labelUsage   = "org.label-schema.usage"
	labelHelp    = "org.label-schema.usage.singularity.runscript.help"
	labelDeffile = "org.label-schema.usage.singularity.deffile."
	labelVersion = "org.label-schema.usage.siflet.version"
)

// BuildLabels are those that every image gets, with the keys of a definition's header.
// Of a time or an architecture that isn't known there is no label.
func BuildLabels(arch string, built time.Time, header map[string]string) map[string]string {
	labels := map[string]string{labelSchema: "1.0"}
	if arch != "" {
		labels[labelArch] = arch
	}
	if !built.IsZero() {
		labels[labelDate] = built.Weekday().String() + "_" + built.Format("2_January_2006_15:04:05_MST")
	}
	for name, value := range header {
		labels[labelDeffile+name] = value
	}
	return labels
}

// LabelsFile is labels as an image has them.
func LabelsFile(labels map[string]string) File {
	if labels == nil {
		labels = map[string]string{}
	}
	// Texts can be nothing but JSON.
	text, _ := json.MarshalIndent(labels, "", "\t")
	return Regular(LabelsPath, 0o644, string(text))
}

// ReadLabels reads labels.json. What others wrote in there as a number counts as text.
func ReadLabels(text string) (map[string]string, error) {
	var values map[string]any
	if err := json.Unmarshal([]byte(text), &values); err != nil {
		return nil, fmt.Errorf("labels.json: %w", err)
	}
	labels := make(map[string]string, len(values))
	for name, value := range values {
		switch v := value.(type) {
		case string:
			labels[name] = v
		case nil:
			labels[name] = ""
		default:
			text, _ := json.Marshal(v)
			labels[name] = string(text)
		}
	}
	return labels, nil
}
