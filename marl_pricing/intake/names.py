"""What columns are called: the words of several languages for the columns that we read, to suggest a mapping by."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence


def _of(words: str) -> tuple[str, ...]:
    return tuple(words.split(", "))


# Our name of a column → words for it, the likeliest first; compared without case, accents and signs. A word that is
# the whole title counts before one that is a part of it.
SALES_WORDS: dict[str, tuple[str, ...]] = {
    "product": _of(
        "product, product id, sku, upc, ean, gtin, item, item id, article, stock code, stockcode, product "
        "name, lineitem sku, prod code, artikel, artikelnummer, artikelnr, artikel nr, artikelname, "
        "artikelbezeichnung, produkt, produit, désignation, référence, reference, producto, articulo, código, "
        "prodotto, articolo, codice, produto, artigo, varenummer, vare, tuote, towar, nazwa towaru, zboží, товар, "
        "артикул, 商品, 商品コード, 商品编码, 商品id, 商品名, 商品名称, 品番, 상품, 상품코드, asin, material, listing"
    ),
    "seller": _of(
        "seller, brand, vendor, merchant, shop, manufacturer, supplier, marke, händler, verkäufer, "
        "anbieter, hersteller, lieferant, marque, vendeur, marchand, marca, vendedor, venditore, merk, "
        "verkoper, бренд, продавец"
    ),
    "store": _of(
        "store, store id, store nbr, store code, storeid, outlet, branch, location, filiale, markt, "
        "laden, magasin, boutique, tienda, sucursal, negozio, punto vendita, loja, winkel, filiaal, "
        "butik, магазин, 店舗"
    ),
    "period": _of(
        "period, date, week, week end, week no, month, day, order date, invoice date, invoicedate, "
        "created at, date add, purchase date, sale date, transaction date, shop date, timestamp, order time, "
        "transaction dt, t dat, date time, datetime, datum, woche, kalenderwoche, kw, monat, kalendertag, tag, "
        "bestelldatum, rechnungsdatum, verkaufsdatum, auftragsdatum, semaine, mois, jour, fecha, semana, mes, data, "
        "settimana, mese, giorno, dia, maand, dato, uge, uke, pvm, tydzień, data sprzedaży, дата, неделя, "
        "日付, 日期, 날짜, 일자"
    ),
    "units": _of(
        "units, quantity, qty, units sold, items sold, unit sales, qty ordered, units ordered, sold, move, volume, "
        "total volume, pieces, cnt, item cnt day, lineitem quantity, product qty, "
        "menge, stück, stückzahl, anzahl, absatz, verkaufte menge, quantité, qté, nombre, unités, "
        "cantidad, unidades, uds, quantità, qta, pezzi, quantidade, aantal, hoeveelheid, antal, antall, "
        "määrä, ilość, množství, количество, кол во, 数量, 销量, 수량"
    ),
    "price": _of(
        "price, unit price, unitprice, price per unit, rate, retail price, selling price, sale price, average price, "
        "item cost, sold for, lineitem price, preis, vk netto, vk brutto, stückpreis, einzelpreis, verkaufspreis, vk, "
        "vk preis, prix, prix unitaire, precio, precio unitario, prezzo, prezzo unitario, preço, prijs, stuksprijs, "
        "pris, hinta, cena, cena brutto, cena netto, цена, 価格, 単価, 单价, 价格, 단가, 가격"
    ),
    "revenue": _of(
        "revenue, sales, turnover, sales value, net sales, subtotal, row total, line total, item total, spend, "
        "dollars, amount, total, total price, grand total, umsatz, betrag, erlös, gesamtpreis, gesamt, "
        "chiffre d affaires, ca, montant, ventas, importe, ingresos, fatturato, "
        "importo, ricavi, receita, valor, omzet, omsætning, omsättning, выручка, сумма, 売上, 金額, 金额, 매출, 금액"
    ),
    "category": _of(
        "category, product category, department, product line, class, group, kategorie, warengruppe, "
        "catégorie, rayon, categoria, categoría, reparto, categorie, kategori, kategoria, категория"
    ),
    "cost": _of(
        "cost, unit cost, cogs, purchase price, wholesale price, einkaufspreis, ek, ek preis, ek netto, kosten, "
        "coût, prix d achat, coste, costo, custo, inkoopprijs, себестоимость, 原価"
    ),
    "stock": _of(
        "stock, inventory, inventory level, on hand, stock on hand, bestand, lagerbestand, lager, existencias, "
        "inventario, giacenza, scorte, estoque, voorraad, lagersaldo, остаток, 在庫"
    ),
    "promotion": _of(
        "promotion, promo, discount, on promotion, onpromotion, deal, aktion, rabatt, remise, promoción, "
        "descuento, promozione, sconto, promoção, desconto, korting, акция, скидка"
    ),
    "currency": _of("currency, currency code, währung, devise, moneda, divisa, valuta, moeda, валюта, 通貨"),
}
LOG_WORDS: dict[str, tuple[str, ...]] = {
    "session": _of(
        "session, session id, sessionid, session id hash, domain sessionid, idvisit, anonymous id, "
        "user session, visit, visit id, visitorid, visitor id, ga session id, user pseudo id, "
        "client id, sitzung, besuch, sid, cookie, user id"
    ),
    "time": _of(
        "time, timestamp, tstamp, ts, event time, event timestamp, datetime, at, when, created at, zeit, "
        "visit time, event date, zeitpunkt, zeitstempel, heure, hora, ora, date, datum"
    ),
    "event": _of(
        "event, event type, event name, eventname, action, action type, behavior type, behaviour, type, what, "
        "ereignis, aktion, événement, evento, accion, azione"
    ),
    "item": _of(
        "item, item id, itemid, product, product id, productid, sku, artikel, produkt, produit, producto, prodotto"
    ),
    "price": _of("price, unit price, preis, prix, precio, prezzo, prijs"),
    "label": _of("actor type, actor, label, is bot, bot, is agent, agent, who, class"),
}


def plain(title: str) -> str:
    """A title without case, accents and signs: `Stück-Preis (€)` → `stuck preis`; other alphabets stay."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", title)
    bare = "".join(c for c in unicodedata.normalize("NFKD", split.casefold()) if not unicodedata.combining(c))
    bare = re.sub(r"\([^)]*\)|\[[^\]]*\]|\b(?:eur|usd|gbp|chf)\b", " ", bare)
    return " ".join(re.sub(r"[\W_]+", " ", bare).split())


# What stands behind the name of a thing and does not change what it is: `item no`, `store_id`, `vendor name`.
_OF_THINGS = frozenset(_of("id, ids, key, no, nr, nbr, num, number, name, code, sk, hash, title"))
_OF = re.compile(r"(?P<head>\w+) (?:de|du|des|del|della|di|da|do|d|of)(?: (?:l|la|le|les|el|lo))? (?P<whose>.+)")
_NAMES = frozenset(
    _of("nom, nome, nombre, name, code, codigo, codice, cod, id, no, n, numero, reference, description, nazwa")
)
# Words of which a title may only end: `Shop` in `SHOP_WEEK` is no seller, `week` is what it is.
_BY_ENDS = frozenset({"seller", "store", "category", "promotion", "currency", "stock", "cost"})
_LONG = 5  # letters from which a word may be the end of a compound, as in Auftragsdatum
DAYS = frozenset(_of("day, dayofmonth, tag, jour, dia, giorno, dag"))
MONTHS = frozenset(_of("month, monat, mois, mes, mese, maand, maned, manad, kuukausi, miesiac, month name"))
WEEKS = frozenset(_of("week, kw, woche, kalenderwoche, semaine, semana, settimana, uge, uke, vecka, tydzien"))
YEARS = frozenset(_of("year, jahr, jaar, ano, annee, anno, ar, rok, vuosi, год, 年"))


def _without_thing(title: str) -> str:
    words = title.split()
    while len(words) > 1 and words[-1] in _OF_THINGS:
        words.pop()
    return " ".join(words)


def _head(title: str) -> str:
    """Of `prix de l'article` the first word, which says what it is; of `nom du produit` what it is the name of."""
    match = _OF.match(title)
    if match is None:
        return title
    return match["whose"] if match["head"] in _NAMES else match["head"]


def _is(title: str, word: str) -> bool:
    return title == word or title.replace(" ", "") == word.replace(" ", "") or _without_thing(title) == word


def _ends(title: str, word: str) -> bool:
    """Whether a title's last words are a word, which in most languages say what it is."""
    own = _without_thing(_head(title))
    if own == word:
        return True
    compound = len(word) >= _LONG and " " not in word and own.endswith(word)
    return own.endswith(f" {word}") or compound


def _holds(title: str, word: str) -> bool:
    return len(word) > 3 and f" {word} " in f" {_head(title)} "


def suggest(
    titles: Sequence[str],
    words: Mapping[str, tuple[str, ...]],
    fits: Callable[[str, str], bool] = lambda name, title: True,
) -> dict[str, str]:
    """Our name → the title that it is likely meant by; a title is suggested once.

    Titles that are a word before those that end in one, and these before those that hold one.

    Args:
        fits: whether what stands in a column can be what our name says.
    """
    left = {title: plain(title) for title in titles}
    found: dict[str, str] = {}
    for kind in (_is, _ends, _holds):
        for name, likely in words.items():
            if name in found or (kind is _holds and name in _BY_ENDS):
                continue
            alike = (title for word in map(plain, likely) for title, own in left.items() if kind(own, word))
            match = next((title for title in alike if fits(name, title)), None)
            if match is not None:
                found[name] = match
                del left[match]
    return {name: found[name] for name in words if name in found}


def find_title(name: str, titles: Iterable[str]) -> str | None:
    """The title that a mapping means: the same text, or the only one that differs in case and space at its ends."""
    titles = list(titles)
    if name in titles:
        return name
    alike = [title for title in titles if title.strip().casefold() == name.strip().casefold()]
    return alike[0] if len(alike) == 1 else None
