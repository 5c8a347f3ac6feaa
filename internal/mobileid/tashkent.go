package mobileid

import "time"

// Tashkent is the zone of legal dates and of the times that a text shows.
// Uzbekistan has had UTC+5 without summer time since 1992, so a fixed zone says
// the same as the zone database, and no program depends on its host having one.
var Tashkent = time.FixedZone("Asia/Tashkent", 5*60*60)
