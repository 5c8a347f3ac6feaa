package mobileid

// transferWords are the words for what told us of a transfer (its why), by language
// and by what it did (its kind); "" is any why. Uzbek has its true letters (U+02BB in
// oʻ and gʻ, U+02BC elsewhere), as the catalogue of texts does.
var transferWords = map[Locale]map[ChargeState]map[string]string{
	LocaleEn: {
		ChargePending: {"": "the price was reserved before the SMS was sent"},
		ChargePosted: {
			"stopped":    "the SMS ended before all of its parts were sent: those that the operator took are charged",
			"reconciled": "the operator's file says that the SMS was debited",
			"answer":     "the operator accepted the SMS",
			"receipt":    "the operator reported that the SMS arrived",
			"confirmed":  "the code of the SMS was entered, so it arrived",
			"charger":    "the operator's charging system took the money",
			"migrated":   "charged before steps were kept one by one",
		},
		ChargeVoided: {
			"answer":     "the operator did not accept the SMS: nothing is charged",
			"receipt":    "the operator reported that the SMS was refused or not delivered: nothing is charged",
			"stopped":    "the SMS was not sent: nothing is charged",
			"absent":     "the operator's file does not have the SMS: nothing is charged",
			"charger":    "the operator's charging system refused, or does not charge this SMS",
			"reconciled": "the operator's file says that the SMS was not debited: nothing is charged",
			"migrated":   "not charged; before steps were kept one by one",
		},
		ChargeUnknown: {
			"doubt":   "nobody has said whether the operator took the SMS: no money is held, his file will settle it",
			"charger": "the operator's charging system has not answered: no money is held until it does",
		},
		ChargeReversed: {
			"receipt":    "the operator reported that the SMS was refused or not delivered: the money is given back",
			"absent":     "the operator's file does not have the SMS: the money is given back",
			"charger":    "the operator's charging system had no reservation of the SMS any more: the money is given back",
			"reconciled": "the operator's file says that less was debited: the money is given back",
			"migrated":   "given back; before steps were kept one by one",
		},
	},
	LocaleUzLatn: {
		ChargePending: {"": "SMS yuborilishidan oldin uning narxi band qilindi"},
		ChargePosted: {
			"stopped":    "SMS barcha qismlari yuborilmasdan toʻxtatildi: operator qabul qilgan qismlar uchun pul yechildi",
			"reconciled": "operator hisobotiga koʻra, SMS uchun pul yechilgan",
			"answer":     "operator SMSni qabul qildi",
			"receipt":    "operator SMS yetib borganini xabar qildi",
			"confirmed":  "SMSdagi kod kiritildi, demak SMS yetib borgan",
			"charger":    "operatorning hisob-kitob tizimi pulni yechdi",
			"migrated":   "qadamlar alohida yozib borilishidan oldin pul yechilgan",
		},
		ChargeVoided: {
			"answer":     "operator SMSni qabul qilmadi: pul yechilmadi",
			"receipt":    "operator SMS rad etilganini yoki yetib bormaganini xabar qildi: pul yechilmadi",
			"stopped":    "SMS yuborilmadi: pul yechilmadi",
			"absent":     "operator hisobotida bu SMS yoʻq: pul yechilmadi",
			"charger":    "operatorning hisob-kitob tizimi rad etdi yoki bu SMS uchun pul olmaydi",
			"reconciled": "operator hisobotiga koʻra, SMS uchun pul olinmagan: pul yechilmadi",
			"migrated":   "pul yechilmagan; qadamlar alohida yozib borilishidan oldin",
		},
		ChargeUnknown: {
			"doubt":   "operator SMSni qabul qilgan-qilmagani nomaʼlum: pul band qilinmagan, buni operator hisoboti aniqlaydi",
			"charger": "operatorning hisob-kitob tizimi javob bermadi: javob kelguncha pul band qilinmaydi",
		},
		ChargeReversed: {
			"receipt":    "operator SMS rad etilganini yoki yetib bormaganini xabar qildi: pul qaytarildi",
			"absent":     "operator hisobotida bu SMS yoʻq: pul qaytarildi",
			"charger":    "operatorning hisob-kitob tizimida bu SMS uchun band qilingan pul endi yoʻq: pul qaytarildi",
			"reconciled": "operator hisobotiga koʻra, kamroq pul yechilgan: pul qaytarildi",
			"migrated":   "pul qaytarilgan; qadamlar alohida yozib borilishidan oldin",
		},
	},
	LocaleRu: {
		ChargePending: {"": "стоимость SMS зарезервирована до его отправки"},
		ChargePosted: {
			"stopped":    "отправка SMS прекращена раньше, чем ушли все его части: списано за те, которые принял оператор",
			"reconciled": "по отчёту оператора, деньги за SMS списаны",
			"answer":     "оператор принял SMS",
			"receipt":    "оператор сообщил, что SMS доставлено",
			"confirmed":  "код из SMS был введён, значит, SMS дошло",
			"charger":    "расчётная система оператора списала деньги",
			"migrated":   "списано до того, как стали записывать каждый шаг",
		},
		ChargeVoided: {
			"answer":     "оператор не принял SMS: деньги не списаны",
			"receipt":    "оператор сообщил, что SMS отклонено или не доставлено: деньги не списаны",
			"stopped":    "SMS не отправлено: деньги не списаны",
			"absent":     "в отчёте оператора нет этого SMS: деньги не списаны",
			"charger":    "расчётная система оператора отказала или не берёт денег за это SMS",
			"reconciled": "по отчёту оператора, за SMS ничего не взято: деньги не списаны",
			"migrated":   "не списано; до того, как стали записывать каждый шаг",
		},
		ChargeUnknown: {
			"doubt":   "неизвестно, принял ли оператор SMS: деньги не удерживаются, это покажет отчёт оператора",
			"charger": "расчётная система оператора не ответила: до её ответа деньги не удерживаются",
		},
		ChargeReversed: {
			"receipt":    "оператор сообщил, что SMS отклонено или не доставлено: деньги возвращены",
			"absent":     "в отчёте оператора нет этого SMS: деньги возвращены",
			"charger":    "в расчётной системе оператора резерва на это SMS уже нет: деньги возвращены",
			"reconciled": "по отчёту оператора, списано меньше: деньги возвращены",
			"migrated":   "возвращено; до того, как стали записывать каждый шаг",
		},
	},
}

// otherWords are for what no list has: they say no more than the kind.
var otherWords = map[Locale]string{LocaleEn: "the Charge became ", LocaleUzLatn: "toʻlov holati: ", LocaleRu: "состояние платежа: "}

// TransferWords says in plain words of a language why a transfer was made. In a
// language that has no words it says so in English.
func TransferWords(kind ChargeState, why string, locale Locale) string {
	if _, known := transferWords[locale]; !known {
		locale = LocaleEn
	}
	for _, key := range []string{why, ""} {
		if w, ok := transferWords[locale][kind][key]; ok {
			return w
		}
	}
	return otherWords[locale] + string(kind)
}
