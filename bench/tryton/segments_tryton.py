"""What `segments_load.py` does in Tryton, with the Python that Tryton is installed in.

segments_tryton.py prepare|work|import CONFIGURATION URL COUNT ORDERS SEED
"""

import datetime
import random
import sys
from decimal import Decimal

from proteus import Model, config

command, configuration, url = sys.argv[1:4]
count, orders, seed = map(int, sys.argv[4:])


def install() -> None:
    """A company, its chart of accounts, a fiscal year, goods and customers."""
    from trytond.modules.account.tests.tools import create_chart, create_fiscalyear, create_tax, get_accounts
    from trytond.modules.account_invoice.tests.tools import create_payment_term, set_fiscalyear_invoice_sequences
    from trytond.modules.company.tests.tools import create_company

    create_company()
    create_chart()
    set_fiscalyear_invoice_sequences(create_fiscalyear()).click("create_period")
    accounts, tax = get_accounts(), create_tax(Decimal(".10"))
    tax.save()
    category = Model.get("product.category")(name="Goods", accounting=True)
    category.account_expense, category.account_revenue = accounts["expense"], accounts["revenue"]
    category.customer_taxes.append(tax)
    category.save()
    create_payment_term().save()
    goods(200, "Product", category)
    people(300, "Customer")


def goods(number: int, name: str, category: object) -> None:
    """Products that can be sold."""
    (unit,) = Model.get("product.uom").find([("name", "=", "Unit")])
    template = Model.get("product.template")
    made = [
        template(
            name=f"{name} {n}",
            default_uom=unit,
            type="goods",
            salable=True,
            list_price=Decimal(5 + n),
            account_category=category,
        )
        for n in range(number)
    ]
    template.save(made)


def people(number: int, name: str) -> None:
    """Parties with an address."""
    party_model = Model.get("party.party")
    made = []
    for n in range(number):
        party = party_model(name=f"{name} {n}")
        party.addresses[0].street = f"Street {n}"
        made.append(party)
    party_model.save(made)


def work(hour: int) -> None:
    """Orders, each quoted, most of them confirmed; their shipments and invoices; a note; what is scheduled."""
    source = random.Random(hour)
    sale_model, note_model = Model.get("sale.sale"), Model.get("ir.note")
    for number in range(orders):
        if source.random() < 0.2:
            people(1, f"New {hour}-{number}")
        sale = sale_model(party=source.choice(customers), payment_term=term, invoice_method="order")
        for _ in range(source.randint(1, 4)):
            line = sale.lines.new()
            line.product = source.choice(products)
            line.quantity = float(source.randint(1, 9))
        sale.save()
        note_model(resource=sale, message=f"Delivery in week {source.randint(1, 52)}, by the morning.").save()
        sale.click("quote")
        if source.random() < 0.8:
            sale.click("confirm")
            for shipment in sale.shipments:
                shipment.click("assign_force")
                shipment.click("pick")
                shipment.click("pack")
            if source.random() < 0.8:
                for invoice in sale.invoices:
                    invoice.invoice_date = datetime.datetime.now(datetime.UTC).date()
                    invoice.save()
                    invoice.click("post")
    template = source.choice(products).template
    template.list_price = Decimal(source.randint(5, 500))
    template.save()
    for job in Model.get("ir.cron").find([]):
        job.click("run_once")


config.set_trytond(url, config_file=configuration)
if command == "prepare":
    install()
if command in ("prepare", "work"):
    customers = Model.get("party.party").find([("name", "like", "Customer%")])
    products = Model.get("product.product").find([("template.name", "like", "Product%")])
    term = Model.get("account.invoice.payment_term").find([])[0]
    for number in range(count):
        work(seed + number)
elif command == "import":
    (kind,) = Model.get("product.category").find([("name", "=", "Goods")])
    people(count, "Imported")
    goods(count, "Imported", kind)
