"""What columns are called: the words of several languages for the columns that we read, to suggest a mapping by."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence


def _of(words: str) -> tuple[str, ...]:
    return tuple(words.split(", "))


# Our name of a column → words for it, the likeliest first; compared without case, accents and signs. A word that is
# the whole title counts before one that is a part of it.
SALES_WORDS: dict[str, tuple[str, ...]] = {
    "product": _of(
        "product, product id, sku, upc, ean, gtin, item, item id, article, stock code, stockcode, product "
        "name, lineitem sku, artikel, artikelnummer, artikelnr, artikel nr, produkt, produit, référence, "
        "reference, producto, articulo, código, prodotto, articolo, codice, produto, artigo, varenummer, "
        "vare, tuote, towar, zboží, товар, артикул, 商品, 品番, asin, material"
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
        "created at, transaction date, timestamp, datum, woche, kalenderwoche, kw, monat, tag, "
        "bestelldatum, rechnungsdatum, verkaufsdatum, semaine, mois, jour, fecha, semana, mes, data, "
        "settimana, mese, giorno, dia, maand, dato, uge, uke, pvm, tydzień, дата, неделя, 日付"
    ),
    "units": _of(
        "units, quantity, qty, units sold, unit sales, sold, move, volume, pieces, lineitem quantity, "
        "menge, stück, stückzahl, anzahl, absatz, verkaufte menge, quantité, qté, nombre, unités, "
        "cantidad, unidades, uds, quantità, qta, pezzi, quantidade, aantal, hoeveelheid, antal, antall, "
        "määrä, ilość, množství, количество, кол во, 数量"
    ),
    "price": _of(
        "price, unit price, unitprice, price per unit, retail price, selling price, sale price, paid, "
        "lineitem price, preis, stückpreis, einzelpreis, verkaufspreis, vk, vk preis, prix, prix "
        "unitaire, precio, precio unitario, prezzo, prezzo unitario, preço, prijs, stuksprijs, pris, "
        "hinta, cena, цена, 価格, 単価"
    ),
    "revenue": _of(
        "revenue, sales, turnover, sales value, dollars, amount, total, line total, net sales, umsatz, "
        "betrag, erlös, gesamt, chiffre d affaires, ca, montant, ventas, importe, ingresos, fatturato, "
        "importo, ricavi, receita, valor, omzet, omsætning, omsättning, выручка, сумма, 売上"
    ),
    "category": _of(
        "category, product category, department, product line, class, group, kategorie, warengruppe, "
        "catégorie, rayon, categoria, categoría, reparto, categorie, kategori, kategoria, категория"
    ),
    "cost": _of(
        "cost, unit cost, cogs, purchase price, wholesale price, einkaufspreis, ek, ek preis, kosten, "
        "coût, prix d achat, coste, costo, custo, inkoopprijs, себестоимость, 原価"
    ),
    "stock": _of(
        "stock, inventory, on hand, stock on hand, bestand, lagerbestand, lager, existencias, inventario, "
        "giacenza, scorte, estoque, voorraad, lagersaldo, остаток, 在庫"
    ),
    "promotion": _of(
        "promotion, promo, discount, on promotion, onpromotion, deal, aktion, rabatt, remise, promoción, "
        "descuento, promozione, sconto, promoção, desconto, korting, акция, скидка"
    ),
    "currency": _of("currency, currency code, währung, devise, moneda, divisa, valuta, moeda, валюта, 通貨"),
}
LOG_WORDS: dict[str, tuple[str, ...]] = {
    "session": _of(
        "session, session id, sessionid, user session, visit, visit id, visitorid, visitor id, ga session "
        "id, user pseudo id, client id, sitzung, besuch, sid, cookie, user id"
    ),
    "time": _of(
        "time, timestamp, ts, event time, event timestamp, datetime, at, when, created at, zeit, "
        "zeitpunkt, zeitstempel, heure, hora, ora, date, datum"
    ),
    "event": _of(
        "event, event type, event name, eventname, action, type, what, ereignis, aktion, événement, "
        "evento, accion, azione"
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


def suggest(titles: Sequence[str], words: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Our name → the title that it is likely meant by; a title is suggested once, those that are whole words first."""
    left = {title: plain(title) for title in titles}
    found: dict[str, str] = {}
    for whole in (True, False):
        for name, likely in words.items():
            if name in found:
                continue
            for word in (plain(word) for word in likely):
                match = next(
                    (
                        title
                        for title, own in left.items()
                        if own == word or own.replace(" ", "") == word.replace(" ", "")
                        or (not whole and len(word) > 3 and f" {word} " in f" {own} ")
                    ),
                    None,
                )  # fmt: skip
                if match is not None:
                    found[name] = match
                    del left[match]
                    break
    return {name: found[name] for name in words if name in found}


def find_title(name: str, titles: Iterable[str]) -> str | None:
    """The title that a mapping means: the same text, or the only one that differs in case and space at its ends."""
    titles = list(titles)
    if name in titles:
        return name
    alike = [title for title in titles if title.strip().casefold() == name.strip().casefold()]
    return alike[0] if len(alike) == 1 else None
